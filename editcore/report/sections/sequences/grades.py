"""The figure of sequential edits for many editors: bars whose colour is the model's grade."""

from collections.abc import Iterator

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from editcore.collapse.verdict import COLLAPSED, DAMAGED, GRADES, SOUND
from editcore.report.data import ReportData
from editcore.report.drawing.style import MUTED, RULE, SMALL, TYPE, legend_below
from editcore.report.sections.sequences.rows import places, present

COLOURS = {SOUND: "#56b4e9", DAMAGED: "#e69f00", COLLAPSED: "#22252b"}
PANEL, LINE = 2.6, 0.17  # inches: the width of a panel, and the height of a bar with its gap


def draw(study: ReportData, rows: pl.DataFrame) -> Figure:
    """A panel per model (down) and data set (across); the longest-lasting editor is at the top."""
    models, across = present(study, rows, "model"), places(study, rows)
    tall = LINE * rows["editor"].n_unique() + 0.7
    size = PANEL * len(across) + 1.1, tall * len(models) + 0.3
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(models), len(across), squeeze=False, sharey="row")
    for model, line in zip(models, grid, strict=True):
        of_model = rows.filter(model=model)
        editors = _ordered(of_model, present(study, of_model, "editor"))
        for (name, some), axes in zip(across.items(), line, strict=True):
            _panel(axes, some.filter(model=model), editors)
            axes.set_title(f"{model}, {name}", loc="left", fontsize=TYPE, fontweight="bold")
    for axes in grid[-1]:
        axes.set_xlabel("edits so far")
    handles = [Patch(color=COLOURS[grade], label=grade) for grade in GRADES]
    legend_below(figure, handles, 3)
    return figure


def segments(rows: pl.DataFrame) -> list[tuple[int, int, str]]:
    """The first and last number of edits of each stretch, and the grade at its end.

    A stretch ends where the model was measured. Of several seeds, the worst grade counts.
    """
    order = {grade: place for place, grade in enumerate(GRADES)}
    graded = rows.filter(pl.col("grade").is_not_null(), pl.col("edits") > 0)
    worst: dict[int, str] = {}
    for edits, grade in graded.select("edits", "grade").iter_rows():
        worst[edits] = max(worst.get(edits, SOUND), grade, key=order.__getitem__)
    ends = sorted(worst)
    return [(a, b, worst[b]) for a, b in zip([0, *ends], ends, strict=False)]


def _ordered(rows: pl.DataFrame, editors: list[str]) -> list[str]:
    """The editors, those whose models last longest first; equals in the order of the config."""
    parts = {editor: segments(rows.filter(editor=editor)) for editor in editors}

    def lasted(editor: str) -> tuple[int, int]:
        alive = [(b - a, grade) for a, b, grade in parts[editor] if grade != COLLAPSED]
        return sum(n for n, _ in alive), sum(n for n, grade in alive if grade == SOUND)

    return sorted(editors, key=lasted, reverse=True)


def _panel(axes: Axes, rows: pl.DataFrame, editors: list[str]) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_yticks(range(len(editors)), editors, fontsize=SMALL)
    axes.set_ylim(len(editors) - 0.5, -0.5)
    for height, editor in enumerate(editors):
        _bar(axes, height, segments(rows.filter(editor=editor)))
    if rows.is_empty():
        axes.text(0.5, 0.5, "no sequences", transform=axes.transAxes, ha="center", color=MUTED)


def _bar(axes: Axes, height: int, parts: list[tuple[int, int, str]]) -> None:
    for grade, spans in _by_grade(parts):
        axes.broken_barh(spans, (height - 0.38, 0.76), facecolors=COLOURS[grade], linewidth=0)


def _by_grade(parts: list[tuple[int, int, str]]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    for grade in GRADES:
        yield grade, [(a, b - a) for a, b, found in parts if found == grade]
