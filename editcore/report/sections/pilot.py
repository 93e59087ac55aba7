"""All single edits: how far each moved the model's perplexity."""

from functools import partial

import polars as pl

from editcore.numbers import in_percent, plural
from editcore.report.data import ReportData
from editcore.report.drawing import strips
from editcore.report.section import Drawing, PageSection, Part

SAME = 0.1  # a relative change of perplexity below which it is nearly the same


def section(study: ReportData) -> PageSection | None:
    """Strips of the perplexity of every edited model; None if none was measured."""
    measured = study.made().filter(pl.col("perplexity_ratio").is_not_null())
    if measured.is_empty():
        return None
    return PageSection(
        anchor="pilot",
        title="All single edits",
        part=Part.EDITS,
        point=point(measured),
        paragraphs=(
            "Each point is a model that was edited once, from the original weights. The scale is "
            "logarithmic; ∞ marks models whose probabilities are no longer finite. All edits are "
            "in summary/cases.parquet.",
        ),
        drawings=(
            Drawing(
                "strips",
                "Perplexity after each single edit, relative to the unedited model’s, by editor "
                "and data set, with a panel for each model.",
                partial(strips.draw, study),
            ),
        ),
    )


def point(measured: pl.DataFrame) -> str:
    r"""How often perplexity stayed nearly the same, over all edits and by editor.

    >>> rows = {"editor": ["a", "b", "b"], "perplexity_ratio": [1.0, 1.25, float("inf")]}
    >>> print(point(pl.DataFrame(rows)).replace(": ", ":\n"))
    Perplexity changed by less than 10 % after 33.3 % of 3 single edits:
    least often with b (0 %), most often with a (100 %).
    >>> point(pl.DataFrame(rows).head(1))
    'Perplexity changed by less than 10 % after 100 % of 1 single edit.'
    """
    same = ((pl.col("perplexity_ratio") - 1).abs() < SAME).mean()
    editors = measured.group_by("editor", maintain_order=True).agg(same=same).sort("same")
    share = in_percent(measured.select(same).item())
    edits = plural(len(measured), "single edit")
    start = f"Perplexity changed by less than {in_percent(SAME)} after {share} of {edits}"
    (least, low), (most, high) = editors.row(0), editors.row(-1)
    if low == high:
        return f"{start}."
    ends = f"least often with {least} ({in_percent(low)}), most often with {most}"
    return f"{start}: {ends} ({in_percent(high)})."
