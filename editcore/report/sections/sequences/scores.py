"""Task scores during sequential edits."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import share
from editcore.records.schemas import GUESSED, SCORE
from editcore.report.data import ReportData
from editcore.report.drawing.style import MUTED, Mark, editor_legend, marks, panels
from editcore.report.section import Drawing
from editcore.report.sections.sequences.rows import ends, median, places, present
from editcore.summary.sequences import tasks

COLUMNS = 2  # of panels, unless there is one per data set
PANEL = (2.9, 1.7)  # inches


@dataclass(frozen=True)
class SequenceScores:
    """The rows of all sequences, with their task scores."""

    study: ReportData
    rows: pl.DataFrame

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks; none if the study has none."""
        return tasks(self.rows)

    def words(self) -> str:
        """What the scores measure."""
        choice = self.study.config.sequences
        items = choice.task_items if choice else None
        some = f"the first {items:,} items of each task" if items else "all items of each task"
        levels = " and ".join(
            f"{guess:g} in {task}" for task in self.tasks if (guess := self._guess(task))
        )
        return (
            f"Task scores measure the models’ remaining abilities, on {some}. "
            + (f"Random guessing scores {levels}. " if levels else "")
            + "A score is missing if a model’s outputs are no longer finite."
        )

    def drawing(self) -> Drawing:
        """The figure of all scores."""
        words = "Task scores against the number of sequential edits, by editor."
        return Drawing("sequences-tasks", words, self.draw)

    def draw(self) -> Figure:
        """A panel per model and task (down) and data set (across); dashed: random guessing."""
        models, across = present(self.study, self.rows, "model"), places(self.study, self.rows)
        shown = [(model, task, name) for model in models for task in self.tasks for name in across]
        editors = marks(present(self.study, self.rows, "editor"))
        columns = len(across) if len(across) > 1 else min(COLUMNS, len(shown))
        titles = [f"{model}: {task}, {name}" for model, task, name in shown]
        figure, grid = panels(titles, columns, PANEL)
        for place, (axes, (model, task, name)) in enumerate(zip(grid, shown, strict=True)):
            axes.set_ylim(-0.05, 1.08)
            if place % columns == 0:
                axes.set_ylabel("score")
            if place >= len(shown) - columns:
                axes.set_xlabel("edits so far")
            if (guess := self._guess(task)) is not None:
                axes.axhline(guess, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
            sequences = across[name].filter(model=model).drop_nulls(SCORE + task)
            for editor, mark in editors.items():
                _line(axes, sequences.filter(editor=editor), SCORE + task, mark)
        editor_legend(figure, editors, columns=3)
        return figure

    def heads(self) -> list[str]:
        """The heads of `cells`."""
        return [f"{task}, {when}" for task in self.tasks for when in ("before", "after")]

    def cells(self, group: pl.DataFrame) -> tuple[str, ...]:
        """A group's scores before the first edit and after the last, as medians over seeds."""
        first, last = group.filter(pl.col("step") == 0), ends(group)
        scores = (median(x[SCORE + task]) for task in self.tasks for x in (first, last))
        return tuple(map(share, scores))

    def _guess(self, task: str) -> float | None:
        return median(self.rows[GUESSED + task])


def _line(axes: Axes, sequence: pl.DataFrame, column: str, mark: Mark) -> None:
    """The median over seeds, with hollow marks, since equal scores coincide."""
    if sequence.is_empty():
        return
    points = sequence.group_by("edits").agg(pl.col(column)).sort("edits")
    edits, scores = points["edits"].to_list(), points[column].to_list()
    axes.plot(
        edits,
        [float(np.median(some)) for some in scores],
        color=mark.colour,
        linewidth=1.3,
        marker=mark.marker,
        markersize=5,
        markerfacecolor="none",
    )
    if sequence["order"].n_unique() > 1:
        low, high = map(min, scores), map(max, scores)
        axes.fill_between(edits, [*low], [*high], color=mark.colour, alpha=0.18, linewidth=0)
