"""What is left of edits after the edited model is rounded, pruned or fine-tuned."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.config.stages import TREATMENTS, UNTREATED
from editcore.numbers import listed, share, times
from editcore.records.model_schemas import SURVIVAL_MEANS
from editcore.report.data import ReportData
from editcore.report.drawing.style import MUTED, RULE, Mark, editor_legend, marks, panels
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
SPREAD = 0.8  # of the distance between two treatments, over which the editors are placed
WIDTH, GAP, EACH, MOST = 3.6, 0.08, 0.06, 1.0  # inches: of a panel, between treatments, an editor's
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
        paragraphs=(WORDS, *rounded(found)),
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


def rounded(rows: pl.DataFrame) -> Iterator[str]:
    """How weights were rounded, in one sentence; none if nothing says so.

    >>> rows = {"treatment": ["untreated", "4-bit"], "rounded_as": [None, "GGUF Q4_0"]}
    >>> list(rounded(pl.DataFrame(rows)))
    ['Weights were rounded as GGUF Q4_0 stores them.']
    """
    found = rows["rounded_as"].drop_nulls().unique().sort().to_list()
    if found:
        yield f"Weights were rounded as {listed(found)} store{'s' * (len(found) == 1)} them."


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
    drawn = {name: m for name, m in marks(study.editors).items() if name in rows["editor"]}
    height = 0.5 + len(treatments) * min(MOST, GAP + EACH * len(drawn))
    titles = [f"{model}: {dataset}" for model, dataset in places]
    figure, grid = panels(titles, columns, (WIDTH, height))
    for number, (axes, (model, dataset)) in enumerate(zip(grid, places, strict=True)):
        _panel(axes, drawn, rows.filter(model=model, dataset=dataset), treatments)
        axes.tick_params(left=False, labelleft=number % columns == 0)
        if number >= len(places) - columns:
            axes.set_xlabel("efficacy")
    editor_legend(figure, drawn, 4)
    return figure


def _panel(
    axes: Axes, editors: Mapping[str, Mark], rows: pl.DataFrame, treatments: Sequence[str]
) -> None:
    """Treatments from top to bottom, and the editors below each other within each."""
    step = SPREAD / len(editors)
    for place, (editor, mark) in enumerate(editors.items()):
        for row in rows.filter(pl.col("efficacy_n") > 0, editor=editor).iter_rows(named=True):
            down = treatments.index(row["treatment"]) + (place - (len(editors) - 1) / 2) * step
            mean, unedited = row["efficacy_mean"], row["efficacy_unedited_mean"]
            axes.errorbar(
                mean,
                down,
                xerr=[
                    [max(0.0, mean - row["efficacy_low"])],
                    [max(0.0, row["efficacy_high"] - mean)],
                ],
                color=mark.colour,
                marker=mark.marker,
                markersize=3,
                linewidth=1.0,
                clip_on=False,
            )
            axes.vlines(unedited, down - step / 2, down + step / 2, color=MUTED, linewidth=1.2)
    for every_other in range(1, len(treatments), 2):
        axes.axhspan(every_other - 0.5, every_other + 0.5, color=RULE, alpha=0.4, linewidth=0)
    axes.set_yticks(range(len(treatments)), treatments)
    axes.set_ylim(len(treatments) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=RULE, linewidth=0.6)


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
