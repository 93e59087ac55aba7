"""What edited models answer if they are asked freely, next to what teacher forcing says."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from editcore.numbers import MISSING, in_percent, share
from editcore.records.answer_schemas import ANSWERS, ANSWERS_SUMMARY, CONTEXTS, MEASURES
from editcore.report.data import ReportData
from editcore.report.drawing.style import (
    INK,
    MUTED,
    PALETTE,
    RULE,
    SMALL,
    Mark,
    dots,
    legend_below,
    panels,
)
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part
from editcore.report.tables import Table

Row = Mapping[str, Any]
COLUMNS, PANEL = 2, 3.4  # panels side by side, and the width of one in inches
EXAMPLES = 3  # of each editor
LONGEST = 90  # characters of an answer that are shown
ALONE = "teacher forcing"


def section(study: ReportData) -> PageSection | None:
    """The gap between the two, their figure, and examples; None without answers."""
    scores = study.table("answers", ANSWERS_SUMMARY)
    examples = study.table("answers-examples", ANSWERS)
    if scores is None or examples is None or scores.is_empty():
        return None
    return PageSection(
        anchor="answers",
        title="What edited models answer",
        part=Part.EDITS,
        point=point(study, scores),
        paragraphs=(
            "Under teacher forcing, a model is given the right answer token by token, and only has "
            "to rank each next one first. Here the same models are asked, and write an answer "
            "themselves, token by token, until they stop. “Exact” is the share of answers that are "
            "the accepted one, apart from case, punctuation and articles; “within”, of those that "
            "contain it.",
        ),
        drawings=(
            Drawing(
                "answers",
                "Efficacy of each editor under teacher forcing, and the share of edited models "
                "that give the new object when they are asked, with a panel for each model.",
                partial(draw, study, scores),
            ),
        ),
        tables=(table(study, scores), _examples(study, examples)),
    )


def point(study: ReportData, scores: pl.DataFrame) -> str:
    """Efficacy under teacher forcing, and in the way of asking freely that differs most from it."""
    parts = []
    for model, forced, facts in _facts(study, scores):
        shares = {c: _mean(facts.filter(context=c), "contains") for c in _contexts(facts)}
        context = max(shares, key=lambda name: abs(shares[name] - forced))
        asked = f"{in_percent(shares[context])} asked freely {_words(context)}"
        parts.append(f"on {model}, {in_percent(forced)} under teacher forcing and {asked}")
    if not parts:
        return "No answer on an edited fact can be compared with teacher forcing."
    return f"Edits that give the new object: {'; '.join(parts[:MOST_NAMED])}."


def gap(study: ReportData, scores: pl.DataFrame) -> Iterator[str]:
    """How far both are apart in every way of asking, a sentence for each model."""
    for model, forced, facts in _facts(study, scores):
        asked = [_asked(facts.filter(context=context), context) for context in _contexts(facts)]
        yield (
            f"{model}: under teacher forcing, edits have an efficacy of {in_percent(forced)}. "
            f"Asked freely {'; '.join(asked)}."
        )


def _facts(study: ReportData, scores: pl.DataFrame) -> Iterator[tuple[str, float, pl.DataFrame]]:
    """Each model with its mean efficacy under teacher forcing and the scores of edited facts."""
    for model in study.models:
        facts = scores.filter(model=model, measure="efficacy")
        forced = study.made(model=model)["efficacy"].mean()
        if not facts.is_empty() and isinstance(forced, float):
            yield model, forced, facts


def _asked(rows: pl.DataFrame, context: str) -> str:
    exact, within = (in_percent(_mean(rows, score)) for score in ("exact_match", "contains"))
    return (
        f"{_words(context)}, {exact} of the edited models answer with exactly the new object, and "
        f"{within} with a text that contains it"
    )


def _mean(rows: pl.DataFrame, score: str) -> float:
    """The mean over all questions of several groups."""
    total = int(rows["n"].sum())
    return float((rows[score] * rows["n"]).sum()) / total if total else 0.0


def _words(context: str) -> str:
    return {
        "bare": "after the bare prompt",
        "instruction": "after an instruction",
        "chat": "in a chat",
    }[context]


def _contexts(rows: pl.DataFrame) -> list[str]:
    found = set(rows["context"])
    return [context for context in CONTEXTS if context in found]


def _groups(study: ReportData, scores: pl.DataFrame) -> Iterator[tuple[Row, dict[str, Row]]]:
    """For each verdict and measure, the rows of its contexts, in the order of the page."""
    by_group: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in scores.iter_rows(named=True):
        key = (row["model"], row["editor"], row["dataset"], row["measure"])
        by_group.setdefault(key, {})[row["context"]] = row
    for verdict in study.groups():
        for measure in MEASURES:
            key = (verdict["model"], verdict["editor"], verdict["dataset"], measure)
            if key in by_group:
                # A measure has the name of the metric that measures the same.
                forced = verdict.get(f"{measure}_mean")
                yield {**verdict, "measure": measure, "forced": forced}, by_group[key]


def table(study: ReportData, scores: pl.DataFrame) -> Table:
    """Teacher forcing and free answers, a row for each editor, data set and measure."""
    contexts = _contexts(scores)
    rows = []
    for group, asked in _groups(study, scores):
        n = max(row["n"] for row in asked.values())
        cells = [cell for c in contexts for cell in _cells(group["measure"], asked.get(c))]
        names = (group["model"], group["editor"], group["dataset"], group["measure"])
        rows.append((*names, f"{n:,}", share(group["forced"]), *cells))
    heads = [head for c in contexts for head in (f"{c}: exact or unchanged", "within")]
    caption = (
        "Teacher forcing and free answers. For locality, of which nothing must change, it is the "
        "share of answers that are the unedited model’s. All scores are in summary/answers.parquet."
    )
    return Table(
        caption,
        ("model", "editor", "data set", "measure", "questions", ALONE, *heads),
        tuple(rows),
        4,
    )


def _cells(measure: str, row: Row | None) -> tuple[str, str]:
    if row is None:
        return MISSING, MISSING
    if measure == "locality":
        return share(row["unchanged"]), MISSING
    return share(row["exact_match"]), share(row["contains"])


def _examples(study: ReportData, answers: pl.DataFrame) -> Table:
    """Facts of each editor, first those on which the two ways to ask disagree most."""
    answers_of = ("before the edit", "after it")
    heads = ("model", "editor", "asked", "how", "wanted", *answers_of, ALONE)
    caption = "Answers as the models wrote them, first those that disagree with teacher forcing."
    rows = [
        cells
        for model in study.models
        for editor in study.editors
        for cells in _contrast(study, answers.filter(model=model, editor=editor), model, editor)
    ]
    return Table(caption, heads, tuple(rows), 7)


def _contrast(
    study: ReportData, answers: pl.DataFrame, model: str, editor: str
) -> Iterator[tuple[str, ...]]:
    forced = study.made(model=model, editor=editor).select("dataset", "case_id", "efficacy")
    joined = answers.join(forced, on=["dataset", "case_id"]).with_columns(
        gap=pl.col("efficacy").fill_null(0.0) - pl.col("contains")
    )
    order = ["gap", "dataset", "case_id", "context"]
    worst = joined.sort(order, descending=[True, False, False, False])
    for row in (
        worst.unique(["dataset", "case_id"], keep="first", maintain_order=True)
        .head(EXAMPLES)
        .iter_rows(named=True)
    ):
        yield (
            model,
            editor,
            _short(row["question"]),
            _words(row["context"]),
            row["accepted"][0],
            _short(row["answer_base"]) or "(nothing)",
            _short(row["answer"]) or "(nothing)",
            share(row["efficacy"]),
        )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def draw(study: ReportData, scores: pl.DataFrame) -> Figure:
    """A panel for each model, with a line for each editor and data set."""
    facts = [pair for pair in _groups(study, scores) if pair[0]["measure"] == "efficacy"]
    models = [model for model in study.models if any(g["model"] == model for g, _ in facts)]
    names = [*dict.fromkeys((group["editor"], group["dataset"]) for group, _ in facts)]
    several = len({dataset for _, dataset in names}) > 1
    lines = [f"{editor}, {dataset}" if several else editor for editor, dataset in names]
    marks_of = dict(zip(_contexts(scores), (Mark(*each) for each in PALETTE), strict=False))
    columns = min(COLUMNS, len(models))
    figure, grid = panels(models, columns, (PANEL, 0.7 + 0.19 * len(names)))
    for place, (axes, model) in enumerate(zip(grid, models, strict=True)):
        for group, asked in facts:
            if group["model"] == model:
                _line(
                    axes, names.index((group["editor"], group["dataset"])), group, asked, marks_of
                )
        axes.set_yticks(range(len(names)), [] if place % columns else lines, size=SMALL, color=INK)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlabel("share that gives the new object")
        axes.grid(axis="x", color=RULE, linewidth=0.6)
    _legend(figure, marks_of)
    return figure


def _line(
    axes: Axes, place: int, group: Row, asked: Mapping[str, Row], shown: Mapping[str, Mark]
) -> None:
    """Free answers as dots, teacher forcing as a ring, and what is between them."""
    points = {ALONE: group["forced"]} | {c: row["contains"] for c, row in asked.items()}
    known = {name: value for name, value in points.items() if value is not None}
    if not known:
        return
    axes.hlines(place, min(known.values()), max(known.values()), color=RULE, linewidth=2)
    for height, (name, mark) in zip(_heights(len(shown)), shown.items(), strict=True):
        if name in known:
            dots(axes, [known[name]], [place + height], mark, size=24, alpha=0.9)
    if ALONE in known:
        ring = axes.scatter([known[ALONE]], [place], s=80, facecolors="none", edgecolors=INK)
        ring.set(clip_on=False, zorder=4)


def _heights(count: int) -> list[float]:
    """How far `count` points of one line are from it, so that equal ones do not hide each other.

    >>> _heights(3)
    [-0.2, 0.0, 0.2]
    """
    return [0.2 * (place - (count - 1) / 2) for place in range(count)]


def _legend(figure: Figure, marks: Mapping[str, Mark]) -> None:
    handles = [
        Line2D([], [], color=mark.colour, marker=mark.marker, linestyle="", label=_words(name))
        for name, mark in marks.items()
    ]
    ring = Line2D([], [], marker="o", markersize=8, linestyle="", label=ALONE)
    ring.set(markerfacecolor="none", markeredgecolor=INK)
    handles.insert(0, ring)
    legend_below(figure, handles, 2, labelcolor=MUTED, fontsize=SMALL)
