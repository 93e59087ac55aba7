"""All single edits: how far each moved the model's perplexity."""

from functools import partial

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import count, plural, real, times
from editcore.report.data import ReportData
from editcore.report.drawing import strips
from editcore.report.section import Drawing, PageSection, Part


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
    r"""How many edits harmed their model, and what the median edit did to perplexity.

    >>> rows = {"grade": ["sound", "sound", "collapsed"], "collapsed": [False, False, True]}
    >>> rows["perplexity_ratio"] = [1.0, 1.25, float("inf")]
    >>> print(point(pl.DataFrame(rows)).replace("; ", ";\n"))
    Of 3 single edits, 1 collapsed the model and 0 damaged it;
    the median edit left perplexity at ×1.25.
    >>> print(point(pl.DataFrame(rows).head(2)))
    None of 2 single edits harmed the model; the highest perplexity is ×1.25 the unedited one.
    """
    edits = plural(len(measured), "single edit")
    ratios = measured["perplexity_ratio"].sort()
    gone = int(measured["collapsed"].sum())
    graded = measured["grade"].null_count() == 0
    damaged = measured.filter(grade=DAMAGED).height
    if not gone + damaged:
        harmed = "harmed" if graded else COLLAPSED
        most = f"the highest perplexity is {times(ratios[-1])} the unedited one"
        return f"None of {edits} {harmed} the model; {most}."
    also = f" and {count(damaged)} damaged it" if graded else ""
    left = times(real(ratios.quantile(0.5, "nearest")))
    return (
        f"Of {edits}, {count(gone)} collapsed the model{also}; "
        f"the median edit left perplexity at {left}."
    )
