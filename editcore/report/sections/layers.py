"""Keys by layer: where bare keys depart from mean keys, and what that does to ROME's edit there."""

from collections.abc import Sequence
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import listed, number
from editcore.records.model_schemas import LAYERS
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import MUTED, Mark, legend_below, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part
from editcore.report.tables import Table
from editcore.requests import OK

TITLES = {"key_cosine": "cosine of bare and mean key", "denominator_share": "k̄·kᵘ / k̄·k̄"}
COLUMNS, PANEL = 2, (3.4, 1.7)  # inches
LEAST = 1e-4  # the log axis ends here; a share may be zero or negative


def section(study: ReportData) -> PageSection | None:
    """Figure and table of keys by layer; None where the study did not measure them."""
    rows = study.table("layers", LAYERS)
    if rows is None or (found := by_layer(rows)).is_empty():
        return None
    return PageSection(
        anchor="layers",
        title="Keys by layer",
        part=Part.MECHANISM,
        point=point(study, found),
        paragraphs=(
            "The key of a subject in the bare prompt, kᵘ, against its mean over the context "
            "prefixes, k̄. An update with mixed keys divides by k̄·kᵘ, one with mean keys alone by "
            "k̄·k̄ (both here without C). If the quotient is 0.01, mixed keys make the edit 100 "
            "times as large. Lines are medians over the cases, and bands their middle half.",
        ),
        drawings=(
            Drawing(
                "layers",
                "Cosine of bare and mean keys, and the quotient of the denominators, by layer, "
                "with a line of panels for each model.",
                partial(draw, study, found),
            ),
        ),
        tables=(_table(found),),
    )


def point(study: ReportData, found: pl.DataFrame) -> str:
    """The quotient of the denominators at each model's edited layer, by data set.

    Of several edited layers, or if none is known, the one with the smallest quotient counts.
    """
    parts = []
    for model in found["model"].unique(maintain_order=True):
        known = found.filter(model=model).drop_nulls("denominator_share_median")
        edited = known.filter(pl.col("layer").is_in(edited_layers(study, model)))
        shown = known if edited.is_empty() else edited
        if shown.is_empty():
            continue
        layer = shown.sort("denominator_share_median")["layer"][0]
        quotients = listed(
            [
                f"{number(row['denominator_share_median'])} on {row['dataset']}"
                for row in shown.filter(layer=layer).iter_rows(named=True)
            ],
            MOST_NAMED,
        )
        parts.append(f"{quotients} cases at layer {layer} of {model}")
    if not parts:
        return "No case has both a bare and a mean key."
    return (
        "An update with mixed keys has this share of the denominator that mean keys give it: "
        f"{'; '.join(parts[:MOST_NAMED])}."
    )


def by_layer(rows: pl.DataFrame) -> pl.DataFrame:
    """Per model, data set and layer: quartiles over the cases that have keys, and their number."""
    measured = ("key_cosine", "denominator_share", "key_norm", "mean_norm")
    quartiles = [
        pl.col(name).quantile(share, "linear").alias(f"{name}_{label}")
        for name in measured
        for label, share in (("low", 0.25), ("median", 0.5), ("high", 0.75))
    ]
    return (
        rows.filter(pl.col("status") == OK)
        .group_by("model", "dataset", "layer", maintain_order=True)
        .agg(*quartiles, n=pl.len())
    )


def draw(study: ReportData, found: pl.DataFrame) -> Figure:
    """Cosine and quotient by layer, a line of panels per model; edited layers are dashed."""
    models = found["model"].unique(maintain_order=True).to_list()
    present = set(found["dataset"])
    datasets = marks([name for name in study.config.datasets if name in present])
    titles = [f"{model}: {title}" for model in models for title in TITLES.values()]
    figure, grid = panels(titles, min(COLUMNS, len(titles)), PANEL)
    shares = [found[f"denominator_share_{part}"].clip(LEAST) for part in ("low", "high")]
    scale = log_scale([1.0, *shares[0], *shares[1]])
    for place, model in enumerate(models):
        edited = edited_layers(study, model)
        dashed = f" (edited: {', '.join(map(str, edited))})" if edited else ""
        for axes, name in zip(grid[2 * place : 2 * place + 2], TITLES, strict=True):
            for dataset, mark in datasets.items():
                some = found.filter(model=model, dataset=dataset).sort("layer")
                _line(axes, some, name, mark, dataset)
            axes.set_xlabel(f"layer{dashed}")
            for layer in edited:
                axes.axvline(layer, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        scale.apply(grid[2 * place + 1], "y")
    legend_below(figure, grid[0].get_legend_handles_labels()[0], 4)
    return figure


def _line(axes: Axes, rows: pl.DataFrame, name: str, mark: Mark, label: str) -> None:
    least = LEAST if name == "denominator_share" else None
    layers = rows["layer"].to_list()
    low, median, high = (
        rows[f"{name}_{part}"].clip(least).to_list() for part in ("low", "median", "high")
    )
    colour, marker = mark.colour, mark.marker
    axes.fill_between(layers, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(layers, median, color=colour, marker=marker, ms=3.5, lw=1.2, label=label)


def edited_layers(study: ReportData, model: str) -> Sequence[int]:
    """The layers that the study's editors of one layer edit in a model."""
    chosen = study.config.editors.values()
    options = [{**each.options, **(each.options_by_model.get(model) or {})} for each in chosen]
    return sorted({one["layer"] for one in options if isinstance(one.get("layer"), int)})


def _table(found: pl.DataFrame) -> Table:
    rows = [
        (
            row["model"],
            f"{row['layer']}",
            row["dataset"],
            number(row["key_cosine_median"]),
            number(row["denominator_share_median"]),
            number(row["key_norm_median"]),
            number(row["mean_norm_median"]),
            f"{row['n']:,}",
        )
        for row in found.sort("model", "layer", "dataset").iter_rows(named=True)
    ]
    heads = ("model", "layer", "data set", "cosine", "k̄·kᵘ / k̄·k̄", "|kᵘ|", "|k̄|", "cases")
    caption = "Medians over the cases, by layer; each case is in summary/layers.parquet."
    return Table(caption, heads, tuple(rows), 3)
