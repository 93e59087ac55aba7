"""What is left of edits after the edited model is rounded, pruned or fine-tuned."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.config.stages import ADAPTER, TREATMENTS, UNTREATED
from editcore.numbers import count, listed, share, times
from editcore.records.model_schemas import SURVIVAL_MEANS
from editcore.report.data import ReportData
from editcore.report.drawing.style import (
    HEIGHT,
    MUTED,
    RULE,
    WIDTH,
    Mark,
    editor_legend,
    marks,
    panels,
)
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table

ORDER = (UNTREATED, *TREATMENTS)
METRICS = {
    "efficacy": "efficacy",
    "generalization": "generalization",
    "efficacy_score": "likelier than the true object",
}
IN_WORDS = {
    "8-bit": "at 8 bits",
    "4-bit": "at 4 bits",
    "8-bit-adapter": "as an adapter of the model at 8 bits",
    "4-bit-adapter": "as an adapter of the model at 4 bits",
}
SPREAD = 0.8  # of the distance between two treatments, over which the editors are placed
GAP, EACH, MOST = 0.12, 0.11, 1.5  # inches between treatments, of each editor, and of all at most
WORDS = (
    "Some edited models are rounded to 8 and 4 bits, pruned by the size of their weights, or "
    "fine-tuned on other text, each by itself, and asked for the edited fact again. As an adapter, "
    "the edit is added to the rounded unedited model. Efficacy and generalization are shares of "
    "the new object’s tokens, with 95 % Wilson intervals. Grey marks are the unedited model after "
    "the same treatment: what it knows of the new object without an edit. Edits that are not "
    "weight changes are left out."
)
Row = dict[str, Any]


def section(study: ReportData) -> PageSection | None:
    """A figure per model, a sentence for each, and the table; None without treated models."""
    found = study.table("survival", SURVIVAL_MEANS)
    if found is None or found.is_empty():
        return None
    models = [model for model in study.models if model in found["model"]]
    drawings = tuple(
        Drawing(
            f"treated-model={model}",
            f"Efficacy of edits of {model}, untreated and after each treatment, by editor.",
            partial(draw, study, found.filter(model=model)),
        )
        for model in models
    )
    sentences = [said for model in models for said in sentence(model, found.filter(model=model))]
    return PageSection(
        "survival",
        "What is left of an edit",
        (WORDS, *sentences),
        drawings,
        (_table(study, found),),
    )


def sentence(model: str, rows: pl.DataFrame) -> Iterator[str]:
    """How much of the efficacy each treatment left, over all edited models; none if unmeasured.

    >>> rows = {"treatment": ["untreated", "4-bit"], "rounded_as": [None, "GGUF Q4_0"]}
    >>> found = pl.DataFrame(rows | {"efficacy_mean": [0.9, 0.3], "efficacy_n": [20, 20]})
    >>> list(sentence("tiny", found))
    ['Of tiny’s 20 edits, efficacy is 0.90 untreated and 0.30 at 4 bits (GGUF Q4_0).']
    """
    measured = rows.filter(pl.col("efficacy_n") > 0)
    told = []
    for treatment in ORDER:
        some = measured.filter(treatment=treatment)
        if not some.is_empty():
            hits = float((some["efficacy_mean"] * some["efficacy_n"]).sum())
            mean = hits / int(some["efficacy_n"].sum())
            words, rounded_as = IN_WORDS.get(treatment, treatment), some["rounded_as"][0]
            if rounded_as and not treatment.endswith(ADAPTER):
                words += f" ({rounded_as})"
            told.append(f"{share(mean)} {words}")
    number = int(measured.filter(treatment=UNTREATED)["efficacy_n"].sum())
    if told and number:
        yield f"Of {model}’s {count(number)} edits, efficacy is {listed(told)}."


def draw(study: ReportData, rows: pl.DataFrame) -> Figure:
    """Efficacy with its interval by treatment, editors below each other; a panel per data set."""
    datasets = [each for each in study.datasets if each in rows["dataset"]]
    treatments = [each for each in ORDER if each in rows["treatment"]]
    drawn = {name: m for name, m in marks(study.editors).items() if name in rows["editor"]}
    columns = min(2, len(datasets))
    figure, grid = panels([f"{rows['model'][0]}: {each}" for each in datasets], columns)
    height = len(treatments) * min(MOST, GAP + EACH * len(drawn)) + 0.2 * HEIGHT
    lines = ceil(len(datasets) / columns)
    figure.set_size_inches(max(WIDTH, 0.8 * WIDTH * columns), height * lines + 0.4)
    for number, (axes, dataset) in enumerate(zip(grid, datasets, strict=False)):
        _panel(axes, drawn, rows.filter(dataset=dataset), treatments)
        axes.tick_params(left=False, labelleft=number % columns == 0)
    editor_legend(figure, drawn, 3 * columns)
    return figure


def _panel(
    axes: Axes, editors: Mapping[str, Mark], rows: pl.DataFrame, treatments: Sequence[str]
) -> None:
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
                markersize=4,
                linewidth=1.0,
                clip_on=False,
            )
            axes.vlines(unedited, down - step / 2, down + step / 2, color=MUTED, linewidth=1.2)
    for every_other in range(1, len(treatments), 2):
        axes.axhspan(every_other - 0.5, every_other + 0.5, color=RULE, alpha=0.4, linewidth=0)
    axes.set_yticks(range(len(treatments)), treatments)
    axes.set_ylim(len(treatments) - 0.5, -0.5)
    axes.set_xlabel("efficacy")
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
            *(share(row[f"{name}_unedited_mean"]) for name in METRICS),
            times(row["perplexity_ratio_median"]),
            f"{row['n_damaged']:,}",
            f"{row['n_collapsed']:,}",
        )
        for row in rows
    )
    caption = (
        "Means over treated edited models, with 95 % Wilson intervals; “unedited” is the unedited "
        "model after the same treatment, asked the same. “Ratio” is the median of the treated "
        "edited model’s perplexity relative to the treated unedited one’s; “damaged” and "
        "“collapsed” count the edited models that are, compared with it."
    )
    heads = ("model", "editor", "data set", "treatment", "edits", "failed", *METRICS.values())
    unedited = (f"{name}, unedited" for name in METRICS.values())
    return Table(caption, (*heads, *unedited, "ratio", "damaged", "collapsed"), cells, 4)


def _with_interval(row: Row, name: str) -> str:
    mean, low, high = (row[f"{name}_{part}"] for part in ("mean", "low", "high"))
    return share(mean) if mean is None else f"{share(mean)} ({share(low)} to {share(high)})"
