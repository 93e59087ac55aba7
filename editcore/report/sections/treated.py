"""What is left of edits after the edited model is rounded, pruned or fine-tuned."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.config.stages import TREATMENTS, UNTREATED
from editcore.numbers import listed, share, times
from editcore.records.model_schemas import SURVIVAL_MEANS
from editcore.report.data import ReportData
from editcore.report.drawing.style import MUTED, editor_legend, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part
from editcore.report.tables import Table

ORDER = (UNTREATED, *TREATMENTS)
METRICS = {
    "efficacy": "efficacy",
    "generalization": "generalization",
    "efficacy_score": "likelier than the true object",
}
IN_WORDS = {
    "8-bit": "when rounded to 8 bits",
    "4-bit": "when rounded to 4 bits",
    "8-bit-adapter": "as an adapter of the model at 8 bits",
    "4-bit-adapter": "as an adapter of the model at 4 bits",
}
PANEL = (3.6, 1.6)  # inches
SPREAD = 0.6  # of the distance between two treatments, over which the editors are placed
WORDS = (
    "Some edited models are rounded to 8 and 4 bits, pruned by the size of their weights, or "
    "fine-tuned on other text, each by itself, and asked for the edited fact again. As an adapter, "
    "the edit is added to the rounded unedited model. Efficacy and generalization are shares of "
    "the new object’s tokens, with 95 % Wilson intervals. Grey dashes are the unedited model after "
    "the same treatment: what it knows of the new object without an edit. Edits that are not "
    "weight changes are left out."
)
Row = dict[str, Any]


def section(study: ReportData) -> PageSection | None:
    """The figure and the table; None without treated models."""
    found = study.table("survival", SURVIVAL_MEANS)
    if found is None or found.is_empty():
        return None
    return PageSection(
        anchor="survival",
        title="What is left of an edit",
        part=Part.EDITS,
        point=point(study, found),
        paragraphs=(WORDS,),
        drawings=(
            Drawing(
                "treated",
                "Efficacy of edits, untreated and after each treatment, by editor, with a panel "
                "for each model and data set.",
                partial(draw, study, found),
            ),
        ),
        tables=(_table(study, found),),
    )


def point(study: ReportData, found: pl.DataFrame) -> str:
    """The treatment that costs most efficacy on each model, over all its treated edits."""
    parts = [
        f"edits of {model} {most}"
        for model in study.models
        if (most := worst(means(found.filter(model=model))))
    ]
    if not parts:
        return "No treated model could be asked for the edited fact."
    return f"E{listed(parts, MOST_NAMED)[1:]}."


def means(rows: pl.DataFrame) -> dict[str, float]:
    """The mean efficacy over all edits, by treatment.

    >>> rows = {"treatment": ["untreated", "pruned"], "efficacy_mean": [0.9, 0.3]}
    >>> means(pl.DataFrame(rows | {"efficacy_n": [20, 20]}))
    {'untreated': 0.9, 'pruned': 0.3}
    """
    measured = rows.filter(pl.col("efficacy_n") > 0)
    total = (pl.col("efficacy_mean") * pl.col("efficacy_n")).sum() / pl.col("efficacy_n").sum()
    found = dict(measured.group_by("treatment").agg(total).iter_rows())
    return {treatment: found[treatment] for treatment in ORDER if treatment in found}


def worst(by_treatment: Mapping[str, float]) -> str:
    """The treatment after which efficacy is lowest; empty without a treatment.

    >>> worst({"untreated": 0.9, "4-bit": 0.5, "pruned": 0.3}), worst({"untreated": 0.9})
    ('lose most efficacy when pruned (from 0.90 to 0.30)', '')
    >>> worst({"untreated": 0.4, "4-bit": 0.5})
    'lose no efficacy in any treatment (0.40)'
    """
    treated = [treatment for treatment in by_treatment if treatment != UNTREATED]
    if not treated or UNTREATED not in by_treatment:
        return ""
    lowest = min(treated, key=by_treatment.__getitem__)
    before, after = share(by_treatment[UNTREATED]), share(by_treatment[lowest])
    if by_treatment[lowest] >= by_treatment[UNTREATED]:
        return f"lose no efficacy in any treatment ({before})"
    when = IN_WORDS.get(lowest, f"when {lowest}")
    return f"lose most efficacy {when} (from {before} to {after})"


def draw(study: ReportData, rows: pl.DataFrame) -> Figure:
    """Efficacy with its interval by treatment; a panel per model and data set."""
    places = [
        (model, dataset)
        for model in study.models
        for dataset in study.datasets
        if not rows.filter(model=model, dataset=dataset).is_empty()
    ]
    treatments = [each for each in ORDER if each in rows["treatment"]]
    columns = min(2, len(places))
    figure, grid = panels([f"{model}: {dataset}" for model, dataset in places], columns, PANEL)
    for number, (axes, (model, dataset)) in enumerate(zip(grid, places, strict=True)):
        last = number >= len(places) - columns
        _panel(axes, study.editors, rows.filter(model=model, dataset=dataset), treatments, last)
    drawn = {name: m for name, m in marks(study.editors).items() if name in rows["editor"]}
    editor_legend(figure, drawn, 4)
    return figure


def _panel(
    axes: Axes,
    editors: Sequence[str],
    rows: pl.DataFrame,
    treatments: Sequence[str],
    last: bool,
) -> None:
    step = SPREAD / max(1, len(editors))
    for place, (editor, mark) in enumerate(marks(editors).items()):
        for row in rows.filter(pl.col("efficacy_n") > 0, editor=editor).iter_rows(named=True):
            across = treatments.index(row["treatment"]) + (place - (len(editors) - 1) / 2) * step
            mean, unedited = row["efficacy_mean"], row["efficacy_unedited_mean"]
            axes.errorbar(
                across,
                mean,
                [[max(0.0, mean - row["efficacy_low"])], [max(0.0, row["efficacy_high"] - mean)]],
                color=mark.colour,
                marker=mark.marker,
                markersize=4,
                linewidth=1.0,
            )
            axes.hlines(unedited, across - step / 2, across + step / 2, color=MUTED, linewidth=1.2)
    axes.set_xticks(range(len(treatments)), treatments if last else [], rotation=25, ha="right")
    axes.set_xlim(-0.5, len(treatments) - 0.5)
    if last:
        axes.set_xlabel("treatment of the edited model")
    axes.set_ylim(-0.03, 1.05)
    axes.set_ylabel("efficacy")


def _table(study: ReportData, found: pl.DataFrame) -> Table:
    orders = (study.models, study.editors, study.datasets, ORDER)
    columns = ("model", "editor", "dataset", "treatment")
    rows = sorted(
        found.iter_rows(named=True),
        key=lambda row: [o.index(row[c]) for o, c in zip(orders, columns, strict=True)],
    )
    cells = tuple(
        (
            *(row[name] for name in columns),
            f"{row['n_ok']:,}",
            f"{row['n'] - row['n_ok']:,}",
            *(_with_interval(row, name) for name in METRICS),
            share(row["efficacy_unedited_mean"]),
            times(row["perplexity_ratio_median"]),
            f"{row['n_damaged']:,}",
            f"{row['n_collapsed']:,}",
        )
        for row in rows
    )
    caption = (
        "Means over treated edited models. Intervals are Wilson’s, of 95 %; “unedited” is the "
        "efficacy of the unedited model after the same treatment, with which ratio and grades "
        "compare. All columns are in summary/survival.parquet."
    )
    heads = ("model", "editor", "data set", "treatment", "edits", "failed", *METRICS.values())
    last = ("unedited", "median ratio", "damaged", "collapsed")
    return Table(caption, (*heads, *last), cells, 4)


def _with_interval(row: Row, name: str) -> str:
    mean, low, high = (row[f"{name}_{part}"] for part in ("mean", "low", "high"))
    return share(mean) if mean is None else f"{share(mean)} ({share(low)} to {share(high)})"
