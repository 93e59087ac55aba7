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
    ),
)
@click.argument("edits", nargs=-1, type=FILE)
@click.option("--study", type=FILE, help="Take the shards that this study lists (study.json).")
@click.option("--out", required=True, type=FOLDER, help="The folder of the summary tables.")
def summarise(edits: tuple[Path, ...], study: Path | None, out: Path) -> None:
    """Gather the rows of all EDITS (Parquet files) into cases, verdicts and warning.parquet.

    The last says how well what was known before the edits predicts which of them collapse a model.
    """
    from editcore.study import listed_edits
    from editcore.summary import run

    run([*edits, *(listed_edits(study) if study else [])], out)


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
