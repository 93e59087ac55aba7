"""The findings, as sentences computed from the tables."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from editcore.datasets.invented_world import notes
from editcore.numbers import listed, number, plural, real, times
from editcore.report.data import ReportData
from editcore.report.page.sequence_sentences import in_sequence

Row = dict[str, Any]
MANY = 8  # editors of one model


def findings(study: ReportData) -> list[str]:
    """Sentences on each model and editor with edits, after the notes to read first.

    If a model was edited by more editors than anyone reads sentences on, they share one paragraph.
    """
    found = notes(study.config)
    for model in study.models:
        rows = {
            editor: [r for r in study.groups() if (r["model"], r["editor"]) == (model, editor)]
            for editor in study.editors
        }
        rows = {editor: of_editor for editor, of_editor in rows.items() if of_editor}
        if len(rows) > MANY:
            found.append(together(model, rows))
            continue
        for editor, of_editor in rows.items():
            parts = (collapse(model, editor, of_editor), worst(study, model, editor))
            reason = (cause(study, model, editor), failures(of_editor))
            found.append(" ".join(part for part in (*parts, *reason) if part))
    return found + in_sequence(study)


def together(model: str, rows: Mapping[str, Sequence[Row]]) -> str:
    r"""Which of many editors collapsed a model, damaged it, or did neither, with their edits.

    Only the first, if the predictions of some were not compared.

    >>> row = {"n_ok": 9, "n_collapsed": 0, "n_damaged": 0, "failures": None}
    >>> rome = row | {"n_collapsed": 7, "n_damaged": 1}
    >>> said = together("small", {"rome": [rome], "ft": [row | {"n_damaged": 2}], "memit": [row]})
    >>> print(said.replace(". ", ".\n"))
    small collapsed with edits by rome (7 of 9).
    It was damaged by ft (2 of 9).
    No edit by memit did either.
    >>> together("small", {"ft": [row], "memit": [row]})
    'No edit by ft and memit damaged or collapsed small.'
    """
    sums = {
        name: {editor: _total(of_editor, name) for editor, of_editor in rows.items()}
        for name in ("n_ok", "n_collapsed", "n_damaged")
    }

    def named(column: str, editors: Sequence[str]) -> str:
        counts = (f"{e} ({sums[column][e]:,} of {sums['n_ok'][e]:,})" for e in editors)
        return listed(list(counts))

    worst_first = sorted(rows, key=lambda editor: -sums["n_collapsed"][editor])
    collapsed = [editor for editor in worst_first if sums["n_collapsed"][editor]]
    others = sorted(
        (editor for editor in rows if editor not in collapsed),
        key=lambda editor: -sums["n_damaged"][editor],
    )
    compared = all(r["n_damaged"] is not None for of_editor in rows.values() for r in of_editor)
    damaged = [editor for editor in others if compared and sums["n_damaged"][editor]]
    neither = [editor for editor in others if compared and not sums["n_damaged"][editor]]
    if len(neither) == len(rows):
        start, neither = f"No edit by {listed(neither)} damaged or collapsed {model}.", []
    elif collapsed:
        start = f"{model} collapsed with edits by {named('n_collapsed', collapsed)}."
    else:
        start = f"No edit collapsed {model}."
    parts = [
        start,
        f"It was damaged by {named('n_damaged', damaged)}." if damaged else "",
        f"No edit by {listed(neither)} did either." if neither else "",
        failures([row for of_editor in rows.values() for row in of_editor]),
    ]
    return " ".join(part for part in parts if part)


def _total(rows: Sequence[Row], column: str) -> int:
    return sum(row[column] or 0 for row in rows)


def collapse(model: str, editor: str, rows: Sequence[Row]) -> str:
    """How many cases of each data set collapsed the model, and how many others damaged it.

    The latter are left out if the predictions of some were not compared.

    >>> row = {"dataset": "hard", "n_collapsed": 71, "n_ok": 120, "n_damaged": 9}
    >>> collapse("small", "mean", [row])
    'mean collapsed small with 71 of 120 hard cases, and damaged it with 9 hard cases.'
    """
    counts = [f"{r['n_collapsed']:,} of {r['n_ok']:,} {r['dataset']} cases" for r in rows]
    collapsed = f"{editor} collapsed {model} with {listed(counts)}"
    if any(row["n_damaged"] is None for row in rows):
        return f"{collapsed}."
    others = [plural(row["n_damaged"], f"{row['dataset']} case") for row in rows]
    return f"{collapsed}, and damaged it with {listed(others)}."


def worst(study: ReportData, model: str, editor: str) -> str:
    """The largest rise of perplexity and the subject whose edit caused it."""
    cases = study.made(model=model, editor=editor).drop_nulls("perplexity_ratio")
    if cases.is_empty():
        return ""
    case = cases.sort(["perplexity_ratio", "dataset", "case_id"], descending=[True, False, False])
    row = case.row(0, named=True)
    ratio = row["perplexity_ratio"]
    subject = f"“{row['subject']}”"
    if ratio == float("inf"):
        return f"Its worst edit, of {subject}, left the model without finite probabilities."
    return f"Its worst edit, of {subject}, changed perplexity by {times(ratio)}."


def cause(study: ReportData, model: str, editor: str) -> str:
    """The denominators of edits that collapsed the model and of the others, if there are both."""
    cases = study.made(model=model, editor=editor).drop_nulls(["denominator", "collapsed"])
    medians = {
        bool(verdict): frame["denominator"].median()
        for (verdict,), frame in cases.group_by("collapsed", maintain_order=True)
    }
    if len(medians) < 2:
        return ""
    broken, whole = (number(real(medians[verdict])) for verdict in (True, False))
    return f"The median |denominator| was {broken} for collapsed edits and {whole} for the others."


def failures(rows: Sequence[Row]) -> str:
    """How many edits failed, and why."""
    counts: dict[str, int] = {}
    for row in rows:
        for reason, count in json.loads(row["failures"] or "{}").items():
            counts[reason] = counts.get(reason, 0) + count
    if not counts:
        return ""
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in sorted(counts.items()))
    return f"{plural(sum(counts.values()), 'edit')} failed ({reasons})."


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


def worst_cases(study: ReportData, count: int = 10) -> pl.DataFrame:
    """The edits that raised perplexity most, over the whole study, worst first."""
    order = ["perplexity_ratio", "model", "editor", "dataset", "case_id"]
    cases = study.made().drop_nulls("perplexity_ratio")
    return cases.sort(order, descending=[True, False, False, False, False]).head(count)
