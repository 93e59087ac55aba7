"""The figures of telemetry: each quantity of a model against the number of edits."""

from functools import partial
from math import ceil

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.config.telemetry import NAMES
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import RULE, SMALL, Mark, editor_legend, marks
from editcore.report.section import Drawing
from editcore.report.sections.sequences.rows import DRAWN, batches, present

PANEL, ACROSS = (2.3, 1.6), 3  # inches, and panels in a line
ENDS = {DAMAGED: "o", COLLAPSED: "x"}
SHOWN = (
    "The small panels follow what is said to foretell the end of a sequence; docs/streams.md "
    "defines each quantity. Each line is one seed’s model, with the smallest number of facts per "
    "step; a ring is where the model was first found to be damaged, and a cross where collapsed."
)


def drawings(study: ReportData, rows: pl.DataFrame) -> list[Drawing]:
    """A figure per model whose telemetry was measured."""
    measured = [name for name in NAMES if not rows[name].is_null().all()]
    drawn = rows.filter(arrangement=DRAWN, batch=batches(rows)[0])
    return [
        Drawing(
            f"sequences-telemetry-model={model}",
            f"Telemetry of {model} against the number of edits, a panel for each quantity.",
            partial(draw, study, drawn.filter(model=model), measured),
        )
        for model in (present(study, drawn, "model") if measured else ())
    ]


def draw(study: ReportData, rows: pl.DataFrame, names: list[str]) -> Figure:
    """A panel for each quantity."""
    editors = marks(present(study, rows, "editor"))
    lines = ceil(len(names) / ACROSS)
    figure = Figure(figsize=(PANEL[0] * ACROSS, PANEL[1] * lines + 0.4), layout="constrained")
    panels = [*figure.subplots(lines, ACROSS, squeeze=False, sharex=True).flat]
    edited = rows.filter(pl.col("edits") > 0)
    along = log_scale(edited["edits"])
    for name, axes in zip(names, panels, strict=False):
        _panel(axes, edited, name, editors)
        along.apply(axes, "x")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(names) - ACROSS) : len(names)]:
        axes.set_xlabel("edits so far", fontsize=SMALL)
        axes.xaxis.set_tick_params(labelbottom=True)
    editor_legend(figure, editors, columns=5)
    return figure


def _panel(axes: Axes, rows: pl.DataFrame, name: str, editors: dict[str, Mark]) -> None:
    axes.set_title(name, loc="left", fontsize=SMALL, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.tick_params(labelsize=SMALL)
    known = rows.filter(pl.col(name).is_not_null())
    scale = log_scale(known[name].to_list())
    scale.apply(axes, "y")
    for (editor, *_), stream in known.group_by("editor", "dataset", "order", maintain_order=True):
        mark = editors[str(editor)]
        points = stream.sort("edits")
        up = [max(scale.low, scale.place(value)) for value in points[name]]
        axes.plot(
            points["edits"], up, color=mark.colour, linestyle=mark.line, linewidth=0.8, alpha=0.8
        )
        for grade, shape in ENDS.items():
            found = points["grade"].fill_null("") == grade
            if found.any() and (first := found.arg_max()) is not None:
                axes.plot(
                    points["edits"][first],
                    up[first],
                    marker=shape,
                    markersize=4,
                    markerfacecolor="none",
                    color=mark.colour,
                )
