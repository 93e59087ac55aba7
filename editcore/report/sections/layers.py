"""Keys by layer: where bare keys depart from mean keys, and what that does to ROME's edit there."""

from collections.abc import Sequence
from functools import partial

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.numbers import number
from editcore.records.model_schemas import LAYERS
from editcore.report.data import ReportData
from editcore.report.drawing.logaxis import log_scale
from editcore.report.drawing.style import HEIGHT, MUTED, WIDTH, Mark, marks, panels
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table
from editcore.requests import OK

TITLES = {"key_cosine": "cosine of bare and mean key", "denominator_share": "k̄·kᵘ / k̄·k̄"}
LEAST = 1e-4  # the log axis ends here; a share may be zero or negative


def section(study: ReportData) -> PageSection | None:
    """Figure and table of keys by layer; None where the study did not measure them."""
    rows = study.table("layers", LAYERS)
    if rows is None or (found := by_layer(rows)).is_empty():
        return None
    drawings = [
        Drawing(
            f"layers-model={model}",
            f"Bare against mean keys at every layer of {model}: medians, and the middle half of "
            "the cases as a band.",
            partial(draw, study, found.filter(model=model), model),
        )
        for model in found["model"].unique(maintain_order=True)
    ]
    words = (
        "The key of a subject in the bare prompt, kᵘ, against its mean over the context prefixes, "
        "k̄. An update with mixed keys divides by k̄·kᵘ, one with mean keys alone by k̄·k̄ (both here "
        "without C). Where the quotient is 0.01, mixed keys make the edit 100 times as large, and "
        "that is where it collapses a model.",
    )
    return PageSection("layers", "Keys by layer", words, tuple(drawings), (_table(found),))


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


def draw(study: ReportData, found: pl.DataFrame, model: str) -> Figure:
    """Cosine and quotient over the depth, a line per data set; edited layers are marked."""
    datasets = marks(found["dataset"].unique(maintain_order=True).to_list())
    figure, grid = panels([f"{model}: {title}" for title in TITLES.values()], 2)
    figure.set_size_inches(2 * WIDTH * 0.8, HEIGHT * 0.85)
    edited = edited_layers(study, model)
    listed = f" (dashed: {', '.join(map(str, edited))}, edited here)" if edited else ""
    for axes, name in zip(grid, TITLES, strict=True):
        for dataset, mark in datasets.items():
            _line(axes, found.filter(dataset=dataset).sort("layer"), name, mark, dataset)
        axes.set_xlabel(f"layer{listed}")
        for layer in edited:
            axes.axvline(layer, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    shares = [found[f"denominator_share_{part}"].clip(LEAST) for part in ("low", "high")]
    log_scale([1.0, *shares[0], *shares[1]]).apply(grid[1], "y")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
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
    return Table("Medians over the cases, by layer.", heads, tuple(rows), 3)
