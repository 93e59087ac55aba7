"""The numbers of docs/answers.md: `python -m refresh.answers RESULTS`, a finished study's folder.

RESULTS are of config/smollm2-answers.yaml.
"""

from pathlib import Path

import click

from editcore.atomic import write_text
from editcore.errors import EditcoreError
from editcore.records.answer_schemas import ANSWERS_SUMMARY
from editcore.report.data import ReportData
from editcore.report.drawing.figures import save
from editcore.report.drawing.style import drawing
from editcore.report.sections import answers
from refresh.__main__ import study_in
from refresh.documents import between, markdown
from refresh.repository import root_option

PAGE = Path("docs") / "answers.md"
FIGURE = Path("docs") / "answers.svg"
GAP = ("<!-- the gap: start -->", "<!-- the gap: end -->")


@click.command(help=__doc__)
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@root_option
def main(results: Path, root: Path) -> None:
    """Write the gap between teacher forcing and free answers into docs/answers.md."""
    try:
        study = study_in(results)
    except EditcoreError as error:
        raise click.UsageError(str(error)) from error
    for path in write(study, root):
        click.echo(f"written: {path}")


def write(study: ReportData, root: Path) -> list[Path]:
    """Write the page's numbers and its figure of the first model; returns their paths."""
    scores = study.table("answers", ANSWERS_SUMMARY)
    if scores is None:
        raise click.UsageError(f"the study of {', '.join(study.models)} has no free answers")
    found = answers.table(study, scores)
    parts = (*answers.gap(study, scores), found.caption, markdown(found))
    text = (root / PAGE).read_text(encoding="utf-8")
    write_text(root / PAGE, between(text, "\n\n".join(parts), *GAP))
    first = study.models[0]
    with drawing():
        save(answers.draw(study, first, scores.filter(model=first)), root / FIGURE)
    return [root / PAGE, root / FIGURE]


if __name__ == "__main__":
    main()
