"""What edited models answer if they are asked freely, next to what teacher forcing says."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from editcore.numbers import MISSING, in_percent, share
from editcore.records.answer_schemas import ANSWERS, ANSWERS_SUMMARY, CONTEXTS, MEASURES
from editcore.report.data import ReportData
from editcore.report.drawing.style import INK, MUTED, PALETTE, RULE, SMALL, Mark, dots, panel
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table

Row = Mapping[str, Any]
EXAMPLES = 3  # of each editor
LONGEST = 90  # characters of an answer that are shown
ALONE = "teacher forcing"


def section(study: ReportData) -> PageSection | None:
    """The gap between the two, a figure for each model, and examples; None without answers."""
    scores = study.table("answers", ANSWERS_SUMMARY)
    examples = study.table("answers-examples", ANSWERS)
    if scores is None or examples is None or scores.is_empty():
        return None
    drawings = [
        Drawing(
            f"answers-model={model}",
            f"Efficacy of each editor on {model}: under teacher forcing, and as the share of "
            "edited models that give the new object when they are asked.",
            partial(draw, study, model, scores.filter(model=model)),
        )
        for model in study.models
        if not scores.filter(model=model).is_empty()
    ]
    words = (
        "Under teacher forcing, a model is given the right answer token by token, and only has to "
        "rank each next one first. Here the same models are asked, and write an answer themselves, "
        "token by token, until they stop. “Exact” is the share of answers that are the accepted "
        "one, apart from case, punctuation and articles; “within”, of those that contain it.",
        *gap(study, scores),
    )
    tables = (table(study, scores), _examples(study, examples))
    return PageSection("answers", "What edited models answer", words, tuple(drawings), tables)


def gap(study: ReportData, scores: pl.DataFrame) -> Iterator[str]:
    """How far both are apart, over all editors and data sets, a sentence for each model."""
    for model in study.models:
        facts = scores.filter(model=model, measure="efficacy")
        forced = study.made(model=model)["efficacy"].mean()
        if facts.is_empty() or not isinstance(forced, float):
            continue
        asked = [_asked(facts.filter(context=context), context) for context in _contexts(facts)]
        yield (
            f"{model}: under teacher forcing, edits have an efficacy of {in_percent(forced)}. "
            f"Asked freely {'; '.join(asked)}."
        )


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
        "Efficacy, generalization, portability and locality under teacher forcing, and of free "
        "answers. Of facts that must not change (locality), it is the share of answers that are "
        "the same as the unedited model’s."
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
    caption = (
        "Answers as the models wrote them. First come facts on which teacher forcing and the free "
        "answer disagree."
    )
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


def draw(study: ReportData, model: str, scores: pl.DataFrame) -> Figure:
    """A line for each editor and data set: teacher forcing at one end, free answers on it."""
    facts = [
        (group, asked) for group, asked in _groups(study, scores) if group["measure"] == "efficacy"
    ]
    contexts = _contexts(scores)
    figure, axes = panel(model, "share of edits that give the new object", "")
    figure.set_figheight(1.4 + 0.26 * len(facts))
    marks = dict(zip(contexts, (Mark(*each) for each in PALETTE), strict=False))
    several = len({group["dataset"] for group, _ in facts}) > 1
    names = []
    for place, (group, asked) in enumerate(reversed(facts)):
        points = {ALONE: group["forced"]} | {c: row["contains"] for c, row in asked.items()}
        known = {name: value for name, value in points.items() if value is not None}
        axes.hlines(place, min(known.values()), max(known.values()), color=RULE, linewidth=2)
        for height, (name, mark) in zip(_heights(len(marks)), marks.items(), strict=True):
            dots(axes, [known[name]], [place + height], mark, size=24, alpha=0.9)
        if ALONE in known:
            ring = axes.scatter([known[ALONE]], [place], s=80, facecolors="none", edgecolors=INK)
            ring.set(clip_on=False, zorder=4)
        names.append(f"{group['editor']}, {group['dataset']}" if several else group["editor"])
    axes.set_yticks(range(len(names)), names, size=SMALL, color=INK)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    _legend(figure, marks)
    return figure


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
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        labelcolor=MUTED,
        fontsize=SMALL,
    )
