"""Whether high perplexity means lost ability: all edits, and task scores of the worst models."""

from collections.abc import Iterator

import polars as pl

from editcore.numbers import plural, share
from editcore.records.schemas import DOWNSTREAM
from editcore.report.data import ReportData
from editcore.report.drawing import strips
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table
from editcore.requests import OK


def section(study: ReportData) -> PageSection | None:
    """Strips of perplexity for every model, and the task scores of the worst models."""
    if study.made().is_empty():
        return None
    drawings = tuple(
        Drawing(
            f"strips-model={model}",
            f"Perplexity of {model} after each single edit, by editor and data set.",
            lambda model=model: strips.draw(study, model),  # type: ignore[misc]
        )
        for model in study.models
        if not study.made(model=model).is_empty()
    )
    scores = study.table("downstream", DOWNSTREAM)
    tables = () if scores is None else (_table(scores),)
    paragraphs = [
        "Every point is a model that was edited once, from the original weights. "
        "The scale is logarithmic; ∞ marks models whose probabilities are no longer finite."
    ]
    if scores is not None:
        paragraphs.append(
            "The table shows whether a high perplexity also means lost ability: it compares the "
            "models with the highest perplexity with the unedited one and with random guessing."
        )
    return PageSection(
        "pilot",
        "All single edits, and task scores of the worst models",
        tuple(paragraphs),
        drawings,
        tables,
    )


def _table(scores: pl.DataFrame) -> Table:
    heads = (
        "model",
        "task",
        "metric",
        "items",
        "unedited",
        "worst: mean",
        "spread",
        "of",
        "not finite",
        "random",
    )
    return Table(
        "The models with the highest perplexity: mean and standard deviation of their scores.",
        heads,
        tuple(_rows(scores)),
        3,
    )


def _rows(scores: pl.DataFrame) -> Iterator[tuple[str, ...]]:
    groups = scores.sort("model", "task").group_by("model", "task", maintain_order=True)
    for (model, task), frame in groups:
        unedited = frame.filter(pl.col("case_id").is_null()).row(0, named=True)
        worst = frame.filter(pl.col("top"))
        found = worst.filter(pl.col("status") == OK)["score"]
        mean, deviation = found.mean(), found.std()
        yield (
            str(model),
            str(task),
            unedited["metric"],
            f"{unedited['n_items']:,}",
            share(unedited["score"]),
            share(mean if isinstance(mean, float) else None),
            share(deviation if isinstance(deviation, float) else None),
            plural(len(found), "model"),
            f"{len(worst) - len(found):,}",
            share(unedited["random"]),
        )
