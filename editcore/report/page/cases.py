"""The worst cases of the study, and lists of those that collapsed or damaged a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import in_percent, plural, times
from editcore.report.data import ReportData

Row = dict[str, Any]
MOST_NAMES = 200


@dataclass(frozen=True)
class HarmfulCases:
    """The collapsed or damaged cases of a group, worst first, and the number left out.

    Each is named by its subject, with the perplexity ratio or the share of changed predictions.
    """

    heading: str
    names: tuple[str, ...]
    omitted: int


def collapsed(study: ReportData) -> list[HarmfulCases]:
    """The collapsed cases of every group that has any."""
    return _harmful(study, COLLAPSED, pl.col("perplexity_ratio"), times)


def damaged(study: ReportData) -> list[HarmfulCases]:
    """The damaged cases of every group that has any."""
    return _harmful(study, DAMAGED, 1 - pl.col("top1_kept"), in_percent)


def worst_cases(study: ReportData, count: int = 10) -> pl.DataFrame:
    """The edits that raised perplexity most, over the whole study, worst first."""
    order = ["perplexity_ratio", "model", "editor", "dataset", "case_id"]
    cases = study.made().drop_nulls("perplexity_ratio")
    return cases.sort(order, descending=[True, False, False, False, False]).head(count)


def in_words(row: Mapping[str, Any]) -> Row:
    """A case with its prompt split around the subject, so that the page can highlight it."""
    before, _, after = (row["prompt"] or "{}").partition("{}")
    return {**row, "before": before, "after": after}


def position(row: Row) -> str:
    """Where the subject is in its prompt, and its length.

    >>> position({"subject_start": 0, "subject_tokens": 1})
    'The subject opens the prompt and is 1 token long.'
    >>> position({"subject_start": 13, "subject_tokens": None})
    'The subject comes after 13 characters of the prompt.'
    """
    start, tokens = row["subject_start"], row["subject_tokens"]
    if start is None:
        return ""
    place = (
        f"comes after {plural(start, 'character')} of the prompt" if start else "opens the prompt"
    )
    length = f" and is {plural(tokens, 'token')} long" if tokens is not None else ""
    return f"The subject {place}{length}."


def _harmful(
    study: ReportData, grade: str, by: pl.Expr, shown: Callable[[float], str]
) -> list[HarmfulCases]:
    groups = []
    for row in study.groups():
        where = {name: row[name] for name in ("model", "editor", "dataset")}
        found = study.made(**where, grade=grade).select("case_id", "subject", by=by)
        cases = found.sort(["by", "case_id"], descending=[True, False])
        if cases.is_empty():
            continue
        names = [
            f"{subject} {shown(value)}" for subject, value in cases.select("subject", "by").rows()
        ]
        count = f"{plural(len(names), 'case')} of {row['n_ok']:,}"
        heading = f"{row['editor']} on {row['model']}, {row['dataset']}: {count}"
        omitted = max(0, len(names) - MOST_NAMES)
        groups.append(HarmfulCases(heading, tuple(names[:MOST_NAMES]), omitted))
    return groups
