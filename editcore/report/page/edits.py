"""The sections on single edits that are made from the two tables every study has."""

import math

from editcore.numbers import number, share
from editcore.report import tables
from editcore.report.data import ReportData
from editcore.report.page import cases
from editcore.report.page.headline import Row, taken
from editcore.report.section import PageSection, Part

PERPLEXITY = "perplexity"


def sections(study: ReportData) -> list[PageSection]:
    """The sections in the order of the page."""
    metrics = _metrics(study)
    return [_perplexity(study), *([metrics] if metrics else [])]


def _perplexity(study: ReportData) -> PageSection:
    """How perplexity rose, and which edits failed; the point is the worst edit, if any was made."""
    found = (tables.harm_table(study), tables.rounding_table(study), tables.failure_table(study))
    return PageSection(
        PERPLEXITY,
        "Perplexity, and the worst edits",
        (
            "Perplexity is measured after each edit, alone in the model. The folder figures has a "
            "figure of each model and editor: perplexity by case, and against the denominator.",
        ),
        tables=tuple(table for table in found if table),
        point=" ".join(_worst(row) for row in cases.worst_cases(study, 1).iter_rows(named=True)),
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


def _worst(case: Row) -> str:
    rise = f"multiplied perplexity by {number(case['perplexity_ratio'])}"
    if case["perplexity_ratio"] == math.inf:
        rise = "left the model without finite probabilities"
    where = f"{case['editor']} on {case['model']}, {case['dataset']}"
    return f"The worst edit, of “{case['subject']}” by {where}, {rise}."


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
