"""Task scores during sequential edits."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import number, share, times
from editcore.records.schemas import GUESSED, SCORE
from editcore.report.data import ReportData
from editcore.report.drawing.style import MUTED, Mark, editor_legend, marks, panels
from editcore.report.section import Drawing
from editcore.report.sections.sequences.rows import ends, groups, median, named, places, present
from editcore.report.tables import WHERE, Table
from editcore.summary.sequences import tasks

COLUMNS = 3  # of panels, unless there is one per data set


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

    def drawings(self) -> list[Drawing]:
        """A figure for each model."""
        return [
            Drawing(
                f"sequences-tasks-model={model}",
                f"Scores of {model} against the number of sequential edits; the dashed lines "
                "show random guessing.",
                partial(self.draw, model),
            )
            for model in present(self.study, self.rows, "model")
        ]

    def draw(self, model: str) -> Figure:
        """A panel per task (down) and data set (across), with a dashed line for random guessing."""
        rows = self.rows.filter(pl.col("model") == model)
        across = places(self.study, rows)
        shown = [(task, name) for task in self.tasks for name in across]
        editors = marks(present(self.study, self.rows, "editor"))
        columns = len(across) if len(across) > 1 else min(COLUMNS, len(shown))
        figure, grid = panels([f"{task}, {name}" for task, name in shown], columns)
        for axes, (task, name) in zip(grid, shown, strict=True):
            axes.set_ylim(-0.05, 1.08)
            axes.set_ylabel("score")
            axes.set_xlabel("edits so far")
            if (guess := self._guess(task)) is not None:
                axes.axhline(guess, color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
            sequences = across[name].drop_nulls(SCORE + task)
            for editor, mark in editors.items():
                _line(axes, sequences.filter(pl.col("editor") == editor), SCORE + task, mark)
        figure.suptitle(f"Tasks of {model}", x=0.01, ha="left", fontweight="bold")
        editor_legend(figure, editors, columns=3)
        return figure

    def table(self) -> Table:
        """Per model, editor and data set: scores before the first edit and after the last."""
        pairs = [f"{task}, {when}" for task in self.tasks for when in ("before", "after")]
        cells = []
        for group in groups(self.study, self.rows):
            first, last = group.filter(pl.col("step") == 0), ends(group)
            scores = (median(x[SCORE + task]) for task in self.tasks for x in (first, last))
            cells.append(
                (
                    *named(group),
                    number(median(last["edits"])),
                    times(median(last["perplexity_ratio"])),
                    *map(share, scores),
                )
            )
        caption = (
            "Task scores before the first edit and at the end of the sequences, with the number of "
            "edits made and the rise of perplexity. All are medians over seeds."
        )
        return Table(caption, (*WHERE, "facts per step", "edits", "ratio", *pairs), tuple(cells))

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
