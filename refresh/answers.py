"""The numbers of docs/answers.md: `python -m refresh.answers RESULTS`, a finished study's folder.

RESULTS are of config/smollm2-answers.yaml.
"""

from collections.abc import Iterator
from pathlib import Path

import click
import polars as pl

from editcore.atomic import write_text
from editcore.errors import EditcoreError
from editcore.numbers import count, number
from editcore.records.answer_schemas import ANSWERS_SUMMARY
from editcore.records.schemas import DOWNSTREAM
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
    parts = (*answers.gap(study, scores), *cost(study, scores), found.caption, markdown(found))
    text = (root / PAGE).read_text(encoding="utf-8")
    write_text(root / PAGE, between(text, "\n\n".join(parts), *GAP))
    first = study.models[0]
    with drawing():
        save(answers.draw(study, scores.filter(model=first)), root / FIGURE)
    return [root / PAGE, root / FIGURE]


def cost(study: ReportData, scores: pl.DataFrame) -> Iterator[str]:
    """Seconds of answers and of tasks for an edited model, by model; none without tasks."""
    tasks = study.table("downstream", DOWNSTREAM)
    if tasks is None:
        return
    for model in study.models:
        asked = scores.filter(model=model)
        edited = tasks.filter(pl.col("case_id").is_not_null(), model=model)
        models = edited.n_unique(["editor", "dataset", "case_id"])
        if models and not asked.is_empty():
            cases = asked.group_by("editor", "dataset").agg(pl.col("n_cases").max())["n_cases"]
            answered, scored = int(cases.sum()), float(edited["seconds"].sum())
            yield (
                f"{model}: the answers of an edited model took "
                f"{number(float(asked['seconds'].sum()) / answered)} seconds (mean of "
                f"{count(answered)}), and its {count(edited['task'].n_unique())} tasks "
                f"{number(scored / models)} (mean of {count(models)})."
            )


if __name__ == "__main__":
    main()
