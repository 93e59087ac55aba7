"""The figure of what collapses a model: perplexity against the update's denominator, all editors.

If no edit has a denominator, the relative size of the weight change takes its place.
"""

from dataclasses import dataclass
from functools import partial

import polars as pl
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import INK, MUTED, Mark, dots, legend_below, level, marks, panel
from editcore.report.section import Drawing


@dataclass(frozen=True)
class Quantity:
    """What the horizontal axis shows, and its values in a table of cases."""

    label: str
    caption: str
    values: pl.Expr


QUANTITIES = (
    Quantity(
        "|denominator| of the update",
        "An update with a small denominator is a large change of the weights.",
        pl.col("denominator"),
    ),
    Quantity(
        "‖Δ‖ / ‖W‖, the size of the change",
        "Perplexity of the edited model against the size of the weight change.",
        pl.col("delta_norm") / pl.col("weight_norm"),
    ),
)


def quantity(study: ReportData) -> Quantity | None:
    """The first of the quantities that any edit of the study has; None if none has one."""
    return next((q for q in QUANTITIES if not drawable(study.made(), q).is_empty()), None)


def drawings(study: ReportData, shown: Quantity) -> tuple[Drawing, ...]:
    """A figure for each model with edits that have the quantity."""
    return tuple(
        Drawing(
            f"cause-model={model}",
            f"{model}: perplexity after each edit against {shown.label}.",
            partial(draw, study, model, shown),
        )
        for model in study.models
        if not drawable(study.made(model=model), shown).is_empty()
    )


def draw(study: ReportData, model: str, shown: Quantity) -> Figure:
    """Perplexity ratio against the quantity: colours are editors, shapes are data sets.

    Both axes are logarithmic.
    """
    figure, axes = panel(model, shown.label, "perplexity: edited / unedited")
    cases = drawable(study.made(model=model), shown)
    base = study.base(model)
    threshold = 1.0 if base is None else study.threshold(base) / base
    up = log_scale([*cases["perplexity_ratio"], 1.0, threshold])
    log_scale(cases["across"]).apply(axes, "x")
    up.apply(axes, "y")
    level(axes, 1.0, "unedited", MUTED, below=True)
    level(axes, threshold, f"collapsed above ×{number(threshold)}", INK)
    shapes = marks(study.datasets)
    present = [editor for editor in study.editors if editor in set(cases["editor"])]
    for editor, colour in marks(present).items():
        for dataset, shape in shapes.items():
            points = cases.filter(editor=editor, dataset=dataset)
            if points.is_empty():
                continue
            dots(
                axes,
                points["across"].to_list(),
                [up.place(value) for value in points["perplexity_ratio"]],
                Mark(colour.colour, shape.marker),
                size=14,
                alpha=0.6,
                label=f"{editor}, {dataset}",
            )
    handles, _ = axes.get_legend_handles_labels()
    legend_below(figure, handles, 3, handletextpad=0.2, columnspacing=1.2)
    return figure


def drawable(cases: pl.DataFrame, shown: Quantity) -> pl.DataFrame:
    """The cases with a measured perplexity and a positive quantity, which is `across`."""
    placed = cases.with_columns(across=shown.values)
    return placed.filter(
        (pl.col("across") > 0) & pl.col("across").is_finite(),
        pl.col("perplexity_ratio").is_not_null(),
    )
