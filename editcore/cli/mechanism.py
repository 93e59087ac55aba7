"""The commands that find out why edits collapse a model."""

from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.work import FILE, FOLDER, JOB_OPTION
from editcore.gc_pause import uncollected


@click.command(
    short_help="Find out why edits collapse one model.",
    epilog=examples(
        "editcore mechanism --job results/jobs/mechanism/model=tiny-gpt2.json \\",
        "  --out results/mechanism/model=tiny-gpt2",
    ),
)
@JOB_OPTION
@click.option("--out", required=True, type=FOLDER, help="The folder to write, a table each.")
def mechanism(job: Path, out: Path) -> None:
    """Carry out the experiments on keys, denominators, prefixes and positions, a table each."""
    with uncollected():
        from editcore.planning.jobs import MechanismJob, read
        from editcore.runs.mechanism.run import run

    run(read(MechanismJob, job), out)


@click.command(
    "mechanism-tables",
    short_help="Join the models' tables on why edits collapse them.",
    epilog=examples(
        "editcore mechanism-tables results/mechanism/model=* \\",
        "  --cases results/summary/cases.parquet --out results/summary",
    ),
)
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--cases", required=True, type=FILE, help="All edit rows, as `summarise` writes them."
)
@click.option("--out", required=True, type=FOLDER, help="The folder of the summary tables.")
def mechanism_tables(folders: tuple[Path, ...], cases: Path, out: Path) -> None:
    """Write the mechanism-*.parquet of all models in FOLDERS, and what the edits add to them."""
    from editcore.summary.mechanism import write_mechanism

    write_mechanism(folders, cases, out)
