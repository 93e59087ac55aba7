"""The tables of docs/arena.md: `python -m refresh.arena RESULTS LONG`, folders of finished studies.

RESULTS are of config/arena.yaml, LONG of config/arena-sequence.yaml.
"""

from pathlib import Path

import click

from editcore.atomic import write_text
from editcore.errors import EditcoreError
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.drawing.figures import save
from editcore.report.drawing.style import drawing, marks
from editcore.report.sections import arena
from editcore.report.sections.sequences import section as sequences
from editcore.report.tables import Table
from refresh.__main__ import study_in
from refresh.documents import between, markdown
from refresh.repository import root_option

PAGE = Path("docs") / "arena.md"
FIGURE = Path("docs") / "arena.svg"
RANKED = ("<!-- ranking: start -->", "<!-- ranking: end -->")
LONG = ("<!-- long sequences: start -->", "<!-- long sequences: end -->")


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("long", type=click.Path(exists=True, file_okay=False, path_type=Path))
@root_option
def main(results: Path, long: Path, root: Path) -> None:
    """Write the ranking of the studies in RESULTS and LONG into docs/arena.md, and its figure."""
    try:
        study, sequential = study_in(results), study_in(long)
    except EditcoreError as error:
        raise click.UsageError(str(error)) from error
    for path in write(study, sequential, root):
        click.echo(f"written: {path}")


def write(study: ReportData, sequential: ReportData, root: Path) -> list[Path]:
    """Write the page, and the figure of the first model, in `root`; returns their paths."""
    text = (root / PAGE).read_text(encoding="utf-8")
    text = between(text, _rankings(study), *RANKED)
    text = between(text, _shown(_sequences(sequential)), *LONG)
    write_text(root / PAGE, text)
    first = {model: arena.ranked(study, model) for model in study.models[:1]}
    with drawing():
        save(arena.draw(first, marks(study.editors)), root / FIGURE)
    return [root / PAGE, root / FIGURE]


def _rankings(study: ReportData) -> str:
    """The ranked table of all models."""
    found = {model: arena.ranked(study, model) for model in study.models}
    return _shown(arena.table(found, study.table("sequences", SEQUENCES_JUDGED)))


def _sequences(study: ReportData) -> Table:
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None:
        raise click.UsageError(f"the study of {', '.join(study.models)} has no sequences")
    return sequences.table(study, rows)


def _shown(table: Table) -> str:
    return f"{table.caption}\n\n{markdown(table)}"


if __name__ == "__main__":
    main()
