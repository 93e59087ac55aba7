"""The size of weight changes: against perplexity over all edits, and by position in a matrix."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.records.mechanism_schemas import WEIGHTS
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import dots, marks, panel, panels
from editcore.report.section import Drawing, PageSection

RELATIVE = pl.col("delta_norm") / pl.col("weight_norm")


def section(study: ReportData) -> PageSection | None:
    """The size of every change against perplexity, and two changed matrices if they are stored."""
    drawings = [
        Drawing(
            f"change-model={model}",
            f"Size of the weight change relative to the weight against perplexity, {model}.",
            lambda model=model: draw_sizes(study, model),  # type: ignore[misc]
        )
        for model in study.models
        if not sizes(study, model).is_empty()
    ]
    if not drawings:
        return None
    paragraphs = [
        "Each point is one edit: the norm of the change relative to that of the weights that it "
        "changes, against the perplexity of the edited model. Both scales are logarithmic."
    ]
    maps = study.table("weight_change", WEIGHTS)
    if maps is not None and not maps.is_empty():
        drawings += [
            Drawing(
                f"matrix-model={model}",
                f"Absolute change of one matrix of {model}: a collapsed edit and a stable one.",
                lambda model=model: draw_maps(maps, model),  # type: ignore[misc]
            )
            for model in study.models
            if model in maps["model"]
        ]
        paragraphs.append(
            "The matrices show the absolute change for an edit that collapsed the model and one "
            "that did not, on the same colour scale. They are divided into blocks; a block’s "
            "colour shows its largest number."
        )
    title = "Weight changes"
    return PageSection("weight-change", title, tuple(paragraphs), tuple(drawings))


def sizes(study: ReportData, model: str) -> pl.DataFrame:
    """The edits of a model whose weights changed, with the `relative` size of the change."""
    made = study.made(model=model).with_columns(relative=RELATIVE)
    return made.filter(pl.col("relative") > 0, pl.col("perplexity").is_not_null())


def draw_sizes(study: ReportData, model: str) -> Figure:
    """Perplexity against the relative size of the change, by editor."""
    figure, axes = panel(
        f"Edits of {model}", "norm of the change / norm of the weights", "perplexity"
    )
    found = sizes(study, model)
    across, up = log_scale(found["relative"].to_list()), log_scale(found["perplexity"].to_list())
    across.apply(axes, "x")
    up.apply(axes, "y")
    for editor, mark in marks(study.editors).items():
        points = found.filter(pl.col("editor") == editor)
        if not points.is_empty():
            dots(
                axes,
                [across.place(value) for value in points["relative"]],
                [up.place(value) for value in points["perplexity"]],
                mark,
                size=11,
                alpha=0.65,
                label=editor,
            )
    figure.legend(loc="outside lower center", ncols=3, frameon=False, handletextpad=0.2)
    return figure


def draw_maps(maps: pl.DataFrame, model: str) -> Figure:
    """Both matrices as maps of the absolute change, that of the collapsed edit first."""
    maps = maps.filter(pl.col("model") == model)
    shown = [
        (frame.row(0, named=True), _matrix(frame))
        for collapsed in (True, False)
        if not (frame := maps.filter(pl.col("collapsed") == collapsed)).is_empty()
    ]
    titles = [
        f"{'collapsed' if row['collapsed'] else 'stable'}, perplexity {number(row['perplexity'])}"
        for row, _ in shown
    ]
    figure, grid = panels(titles, len(titles))
    highest = max(float(matrix.max()) for _, matrix in shown)
    for axes, (row, matrix) in zip(grid, shown, strict=True):
        extent = (0, row["d_in"], row["d_out"], 0)
        picture = axes.imshow(
            matrix,
            vmin=0,
            vmax=highest,
            cmap="cividis",
            aspect="auto",
            extent=extent,
            interpolation="nearest",
        )
        axes.grid(visible=False)
    figure.colorbar(picture, ax=grid, label="|ΔW|")
    name = shown[0][0]["parameter"]
    figure.suptitle(f"{name} of {model}, by {shown[0][0]['editor']}", x=0.01, ha="left")
    return figure


def _matrix(frame: pl.DataFrame) -> np.ndarray:
    """The blocks as a matrix."""
    ordered = frame.sort("row", "column")["change"].to_numpy()
    return ordered.reshape(frame["row"].n_unique(), -1)
