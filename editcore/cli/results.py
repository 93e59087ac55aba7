"""The commands that turn edit rows into tables, figures and the report."""

from pathlib import Path

import click

from editcore.cli.examples import examples

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    short_help="Gather edit rows into the summary tables.",
    epilog=examples(
        "editcore summarise --study results/jobs/study.json --out results/summary",
        "editcore summarise shard-000.parquet shard-001.parquet --out summary",
        "editcore summarise --what sequences --study results/jobs/study.json --out results/summary",
    ),
)
@click.argument("files", nargs=-1, type=FILE)
@click.option("--study", type=FILE, help="Take the files that this study lists (study.json).")
@click.option("--out", required=True, type=FOLDER, help="The folder of the summary tables.")
@click.option(
    "--what",
    type=click.Choice(["edits", "sequences"]),
    default="edits",
    help="Which results to gather; edits if left out.",
)
def summarise(files: tuple[Path, ...], study: Path | None, out: Path, what: str) -> None:
    """Gather the rows of all FILES (Parquet) into the tables that reports are made from.

    Of edits these are cases.parquet and verdicts.parquet, of sequences sequences.parquet.
    """
    from editcore.sequence_table import gather
    from editcore.study import listed_edits, listed_sequences
    from editcore.summary import run

    listed, summarised = (listed_edits, run) if what == "edits" else (listed_sequences, gather)
    summarised([*files, *(listed(study) if study else [])], out)


@click.command(
    short_help="Draw the figures and write the HTML page.",
    epilog=examples(
        "editcore report --summary results/summary --figures results/figures \\",
        "  --study results/jobs/study.json --out results/report.html",
    ),
)
@click.option("--summary", required=True, type=FOLDER, help="The folder of the summary tables.")
@click.option("--figures", required=True, type=FOLDER, help="The folder to draw the figures in.")
@click.option("--out", required=True, type=FILE, help="The HTML page to write.")
@click.option(
    "--study", required=True, type=FILE, help="The study (study.json) whose settings it states."
)
def report(summary: Path, figures: Path, out: Path, study: Path) -> None:
    """Draw the figures of a study and write its report, one page that needs nothing beside it."""
    from editcore.report import run
    from editcore.study import listed_config

    run(summary, figures, out, listed_config(study))
