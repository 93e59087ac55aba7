"""The sections on single edits that are made from the two tables every study has."""

import math

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import number, plural, real, share
from editcore.report import tables
from editcore.report.data import ReportData
from editcore.report.page import cases
from editcore.report.page.headline import Row, taken
from editcore.report.section import PageSection, Part

HARMED = "harmed"


def sections(study: ReportData) -> list[PageSection]:
    """The sections in the order of the page."""
    metrics = _metrics(study)
    return [_perplexity(study), *([metrics] if metrics else []), _harmed(study)]


def _perplexity(study: ReportData) -> PageSection:
    """How perplexity rose, and which edits failed."""
    ratios = study.made()["perplexity_ratio"].drop_nulls()
    point = ""
    if len(ratios):
        most = cases.worst_cases(study, 1).row(0, named=True)
        point = (
            f"Half of the edits multiplied perplexity by {number(real(ratios.median()))} or less; "
            f"the worst, by {most['editor']} on {most['model']}, {_rose(most['perplexity_ratio'])}."
        )
    found = (tables.harm_table(study), tables.rounding_table(study), tables.failure_table(study))
    words = (
        "Perplexity is measured after each edit, alone in the model. The folder figures has a "
        "figure of each model and editor: perplexity by case, and against the denominator.",
    )
    return PageSection(
        "perplexity",
        "Perplexity after the edits",
        words,
        tables=tuple(table for table in found if table and table.rows),
        point=point,
        part=Part.EDITS,
    )


def _metrics(study: ReportData) -> PageSection | None:
    """Whether the edits took and what else changed; None if no metric was measured."""
    table = tables.metric_table(study)
    if not table.rows:
        return None
    return PageSection(
        "metrics",
        "Efficacy, generalization, locality",
        (
            "The first columns are as the collapse papers define them: the share of target tokens "
            "that the edited model ranks first, for locality the share whose top-ranked token did "
            "not change. “Prefixed” is after prefixes that were used for editing. The scores are "
            "those of Meng et al. (2022) and compare the probabilities of the two objects. “Free” "
            "is the share of models that, asked freely, write the new object.",
        ),
        tables=(table,),
        point=_took(study),
        part=Part.EDITS,
    )


def _harmed(study: ReportData) -> PageSection:
    """How many edits collapsed a model or damaged it, as the heading of their lists."""
    made = study.made()
    counts = {grade: len(made.filter(grade=grade)) for grade in (COLLAPSED, DAMAGED)}
    point = (
        f"Of {plural(len(made), 'edit')}, {counts[COLLAPSED]:,} collapsed the model and "
        f"{counts[DAMAGED]:,} damaged it."
    )
    return PageSection(HARMED, "The worst cases", point=point, part=Part.EDITS)


def _rose(ratio: float) -> str:
    if ratio == math.inf:
        return "left the model without finite probabilities"
    return f"multiplied it by {number(ratio)}"


def _took(study: ReportData) -> str:
    """Where mean efficacy, the larger of bare and prefixed, is highest and lowest."""
    groups = [r for r in study.groups() if r["efficacy_n"] or r["efficacy_prefixed_n"]]
    if not groups:
        return ""
    ordered = sorted(groups, key=lambda row: -taken(row)[0])

    def place(row: Row) -> str:
        return f"{row['editor']} on {row['model']}, {row['dataset']} ({share(taken(row)[0])})"

    start = f"Mean efficacy, bare or after a prefix, is highest with {place(ordered[0])}"
    return f"{start} and lowest with {place(ordered[-1])}." if len(ordered) > 1 else f"{start}."
