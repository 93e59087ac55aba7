"""The commands that load a model: each does one job file."""

from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.gc_pause import uncollected

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
JOB_OPTION = click.option(
    "--job", required=True, type=FILE, help="The job file, as `editcore plan` writes it."
)


@click.command(
    short_help="Write the context prefixes of a model.",
    epilog=examples(
        "editcore prefixes --job results/jobs/prefixes/model=tiny-gpt2.json --out prefixes.json"
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FILE, help="The JSON file to write.")
def prefixes(job: Path, out: Path) -> None:
    """Let a model write the context prefixes that keys are averaged over, and save them."""
    with uncollected():
        from editcore.planning.jobs import PrefixJob, read
        from editcore.runs.artefacts import write_prefixes

    write_prefixes(read(PrefixJob, job), out)


@click.command(
    short_help="Estimate the second moments of a model's keys.",
    epilog=examples(
        "editcore moments --job results/jobs/moments/model=tiny-gpt2/1a2b3c4d.json --out folder"
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FOLDER, help="The folder to write, a file per layer.")
def moments(job: Path, out: Path) -> None:
    """Estimate C, the second moment of the keys, of each layer that the job names, in one pass.

    A run that was killed goes on where it was. Published statistics are read where the job says so.
    """
    with uncollected():
        from editcore.planning.jobs import MomentJob, read
        from editcore.runs.artefacts import write_moments

    write_moments(read(MomentJob, job), out)


@click.command(
    short_help="Search for v* of the cases of one shard.",
    epilog=examples(
        "editcore values --out shard-000.safetensors \\",
        "  --job results/jobs/values/model=tiny-gpt2/values-1a2b3c4d/dataset=hard/shard-000.json",
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FILE, help="The safetensors file to write.")
def values(job: Path, out: Path) -> None:
    """Search for v*, the values that make a model say the new objects, and save them.

    Editors that differ in their keys alone share them.
    """
    with uncollected():
        from editcore.planning.jobs import ValueJob, read
        from editcore.runs.artefacts import write_values

    write_values(read(ValueJob, job), out)


@click.command(
    short_help="Train an editor for a model.",
    epilog=examples(
        "editcore train --job results/jobs/train/model=tiny-gpt2/1a2b3c4d.json --out T.safetensors"
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FILE, help="The safetensors file to write.")
def train(job: Path, out: Path) -> None:
    """Train an editor that learns about a model before it edits, and save what it learnt.

    A run that was killed goes on where it was. An editor's option can name the file, in any study
    of the same model, so that nothing is trained there.
    """
    with uncollected():
        from editcore.planning.jobs import TrainJob, read
        from editcore.runs.artefacts import train_editor

    train_editor(read(TrainJob, job), out)


@click.command(
    short_help="Edit the cases of one shard and measure each edited model.",
    epilog=examples(
        "editcore edit --out shard-000.parquet --deltas shard-000.safetensors \\",
        "  --job results/jobs/edits/model=tiny-gpt2/editor=E/dataset=hard/shard-000.json",
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FILE, help="The Parquet file to write, a row per case.")
@click.option("--deltas", required=True, type=FILE, help="The safetensors file of weight changes.")
def edit(job: Path, out: Path, deltas: Path) -> None:
    """Edit the cases of one shard, each from the unedited model, and measure each edited model."""
    with uncollected():
        from editcore.planning.jobs import EditJob, read
        from editcore.runs.edit import run

    run(read(EditJob, job), out, deltas)


@click.command(
    short_help="Edit one fact after another and measure the model as it changes.",
    epilog=examples(
        "editcore trace --out seed-0.parquet --deltas seed-0.safetensors \\",
        "  --job results/jobs/sequences/model=tiny-gpt2/editor=E/dataset=hard/seed-0.json",
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FILE, help="The Parquet file to write, a row per step.")
@click.option(
    "--deltas", required=True, type=FILE, help="The safetensors file of all changes together."
)
def trace(job: Path, out: Path, deltas: Path) -> None:
    """Edit facts one on top of another in one model, and measure it on the way.

    A run that was killed goes on from its last checkpoint, a hidden file beside --out.
    """
    with uncollected():
        from editcore.planning.jobs import SequenceJob, read
        from editcore.runs.sequence.run import run

    run(read(SequenceJob, job), out, deltas)


@click.command(
    short_help="Let edited models do tasks of lm-eval.",
    epilog=examples(
        "editcore downstream --job results/jobs/downstream/model=tiny-gpt2.json --out S.parquet"
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FILE, help="The Parquet file, a row per edit and task.")
def downstream(job: Path, out: Path) -> None:
    """Score a model and its edited ones in tasks of lm-eval; nothing edited is written to disk.

    The edits must be finished: their rows and weight changes are read.
    """
    with uncollected():
        from editcore.planning.jobs import DownstreamJob, read
        from editcore.runs.downstream import run

    run(read(DownstreamJob, job), out)
