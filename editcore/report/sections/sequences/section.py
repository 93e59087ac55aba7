"""Sequential edits: the perplexity of each sequence as it grows, and at its end."""

import math
from collections.abc import Sequence
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import number, share, times
from editcore.records.schemas import SEQUENCES_JUDGED, STOPPED, WARNED
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import LogScale, log_scale
from editcore.report.drawing.style import (
    INK,
    PALETTE,
    RULE,
    TYPE,
    Mark,
    editor_legend,
    level,
    marks,
)
from editcore.report.section import Drawing, PageSection, Part
from editcore.report.sections.sequences import by_editor, grades, survival, telemetry, warning
from editcore.report.sections.sequences.lasted import lasted
from editcore.report.sections.sequences.rows import ends, groups, median, named, places, present
from editcore.report.sections.sequences.scores import SequenceScores
from editcore.report.tables import WHERE, Table

PANEL = (3.7, 1.8)  # inches
MARKS = 8  # markers per line, so that editors can be distinguished without colour
CHECKED = (
    "efficacy_so_far",
    "efficacy_so_far_prefixed",
    "generalization_so_far",
    "locality",
)


LINES_SHOWN = (
    "Each line is the perplexity of one editor’s model; with several seeds, it is their median, "
    "and the band shows their range."
)
GRADES_SHOWN = (
    "Each bar is one editor’s model, from the first edit to the last that was made; its colour is "
    "the grade where the model was measured, and with several seeds the worst of them."
)


def section(study: ReportData) -> PageSection | None:
    """Figures and tables of all sequences; None if the study has none."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None or rows.is_empty():
        return None
    many = rows["editor"].n_unique() > len(PALETTE)
    drawings = [_perplexities(study, rows)]
    if many:
        drawings = [_grades(study, rows), *by_editor.drawings(study, rows)]
    words = [
        "Each edit was applied to the model produced by the previous edits. "
        f"{f'{GRADES_SHOWN} {by_editor.SHOWN}' if many else LINES_SHOWN} Each seed draws the facts "
        "and their order. Efficacy and locality are measured at the end, over all facts edited; "
        "neighbours that were edited themselves do not count for locality."
    ]
    if of_facts := survival.drawing(study, rows):
        words.append(survival.SHOWN)
        drawings.append(of_facts)
    if of_models := telemetry.drawings(study, rows):
        words.append(telemetry.SHOWN)
        drawings += of_models
    scores = SequenceScores(study, rows)
    if scores.tasks:
        words.append(scores.words())
        drawings.append(scores.drawing())
    return PageSection(
        anchor="sequences",
        title="How long models last",
        part=Part.STREAMS,
        point=lasted(study, rows),
        paragraphs=tuple(words),
        drawings=tuple(drawings),
        tables=(table(study, rows), *warning.tables(rows)),
    )


def _perplexities(study: ReportData, rows: pl.DataFrame) -> Drawing:
    words = "Perplexity against the number of sequential edits, for every editor."
    return Drawing("sequences", words, partial(draw, study, rows))


def _grades(study: ReportData, rows: pl.DataFrame) -> Drawing:
    words = "The grade of the model against the number of sequential edits, for every editor."
    return Drawing("sequences", words, partial(grades.draw, study, rows))


def draw(study: ReportData, rows: pl.DataFrame) -> Figure:
    """A panel per model (down) and data set (across), with one scale for each model."""
    models, across = present(study, rows, "model"), places(study, rows)
    editors = marks(present(study, rows, "editor"))
    size = PANEL[0] * len(across), PANEL[1] * len(models) + 0.35
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(models), len(across), squeeze=False, sharex=True)
    for model, line in zip(models, grid, strict=True):
        of_model = rows.filter(pl.col("model") == model)
        scale = _scale(study, of_model)
        for (name, some), axes in zip(across.items(), line, strict=True):
            _panel(study, axes, some.filter(model=model), editors, scale)
            axes.set_title(f"{model}, {name}", loc="left", fontsize=TYPE, fontweight="bold")
        line[0].set_ylabel("perplexity")
    for axes in grid[-1]:
        axes.set_xlabel("edits so far")
    editor_legend(figure, editors, columns=6)
    return figure


def table(study: ReportData, rows: pl.DataFrame) -> Table:
    """The ends of the sequences per model, editor and data set, as medians over seeds."""
    scores = SequenceScores(study, rows)
    heads = (
        *WHERE,
        *("facts per step", "sequences", "edits", "failed", "damaged after", "collapsed after"),
        *("perplexity", "ratio", "efficacy", "prefixed", "generalization", "locality", "stopped"),
        *scores.heads(),
    )
    cells = []
    for group in groups(study, rows):
        last = ends(group)
        tried = group.filter(pl.col("step") > 0)
        cells.append(
            (
                *named(group),
                f"{last.height:,}",
                number(median(last["edits"])),
                f"{(~tried['made']).sum():,}",
                *(_first(group, grades) for grades in ((DAMAGED, COLLAPSED), (COLLAPSED,))),
                number(median(last["perplexity"])),
                times(median(last["perplexity_ratio"])),
                *(share(median(last[name])) for name in CHECKED),
                f"{last['status'].str.contains(f'^({STOPPED}|{WARNED})').sum():,}",
                *scores.cells(group),
            )
        )
    caption = (
        "The ends of the sequences, as medians over seeds. “After” is the number of edits at which "
        "the model was first found to be damaged or worse, and to have collapsed. All steps are in "
        "summary/sequences.parquet."
    )
    return Table(caption, heads, tuple(cells))


def _first(group: pl.DataFrame, grades: Sequence[str]) -> str:
    """The number of edits at which the model first had one of the grades, as a median."""
    found = group.filter(pl.col("grade").is_in(grades))
    return number(median(found.group_by("order").agg(pl.col("edits").min())["edits"]))


def _scale(study: ReportData, rows: pl.DataFrame) -> LogScale:
    base = rows["perplexity_base"].drop_nulls()[0]
    return log_scale([*rows["perplexity"].drop_nulls(), base, study.threshold(base)])


def _panel(
    study: ReportData, axes: Axes, rows: pl.DataFrame, editors: dict[str, Mark], scale: LogScale
) -> None:
    scale.apply(axes, "y")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    if rows.is_empty():
        return
    threshold = study.threshold(rows["perplexity_base"].drop_nulls()[0])
    level(axes, threshold, f"collapsed above {number(threshold)}", INK)
    for editor, mark in editors.items():
        sequence = rows.filter(pl.col("editor") == editor, pl.col("perplexity").is_not_null())
        if not sequence.is_empty():
            _line(axes, sequence, mark, scale)


def _line(axes: Axes, sequence: pl.DataFrame, mark: Mark, scale: LogScale) -> None:
    points = sequence.group_by("edits", maintain_order=True).agg(pl.col("perplexity")).sort("edits")
    edits = points["edits"].to_list()
    heights = [[scale.place(value) for value in some] for some in points["perplexity"]]
    middle = [_between(some) for some in heights]
    axes.plot(
        edits,
        middle,
        color=mark.colour,
        linewidth=1.3,
        marker=mark.marker,
        markersize=3.5,
        markevery=max(1, len(edits) // MARKS),
    )
    if sequence["order"].n_unique() > 1:
        low, high = [min(some) for some in heights], [max(some) for some in heights]
        axes.fill_between(edits, low, high, color=mark.colour, alpha=0.18, linewidth=0)


def _between(values: Sequence[float]) -> float:
    """The median on a logarithmic scale."""
    kept = sorted(values)
    return math.sqrt(kept[(len(kept) - 1) // 2] * kept[len(kept) // 2])
