"""The sentences that the page opens with: who collapsed what, why, and what cures it."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from editcore.numbers import listed, plural, real
from editcore.report.data import ReportData

Row = dict[str, Any]
NAMED = 3  # editors or models named in a sentence; of more, the rest are counted
FEWEST = 3  # edits whose median is worth comparing
SMALLER = 3.0  # times: denominators of collapsed edits below others' by less explain nothing
UNHARMED = 0.95  # share of a cure's edits that leave the model sound
TAKING = 0.8  # a cure's efficacy, relative to the best editor's in the same cases
AT_LEAST = 0.5  # and in any case


def headline(study: ReportData, sequences: str = "") -> str:
    """One sentence or two; `sequences` takes the second place if no single edit collapsed a model.

    A cure is an editor that made the same edits, with an efficacy near the best one's, bare or
    after a prefix, and left nearly all models sound.
    """
    rows = study.groups()
    made = sum(row["n_ok"] for row in rows)
    if not made:
        return f"No edit could be made: {failures(rows)}"
    harm = worst(rows, "n_collapsed")
    if harm:
        first = _with_reason(study, harm, rows)
        return " ".join(filter(None, (first, cure(study, harm))))
    damage = worst(rows, "n_damaged")
    if damage:
        first = f"No edit collapsed a model, but {caused(damage, 'n_damaged', 'damaged')}."
    else:
        compared = all(row["n_damaged"] is not None for row in rows)
        verb = "collapsed or damaged" if compared else "collapsed"
        models = study.models[0] if len(study.models) == 1 else f"one of {len(study.models)} models"
        first = (
            f"None of {plural(made, 'edit')} by {some(study.editors, 'editor')} {verb} {models}."
        )
    return " ".join(filter(None, (first, sequences)))


def worst(rows: Sequence[Row], column: str) -> list[Row]:
    """The groups of the editor with most such edits, the worst first.

    Data sets in which it has less than half the share of the worst one are left out.
    """
    found = [row for row in rows if row[column]]
    if not found:
        return []
    sums: dict[str, int] = {}
    for row in found:
        sums[row["editor"]] = sums.get(row["editor"], 0) + row[column]
    editor = max(sums, key=lambda name: sums[name])
    of_editor = [row for row in found if row["editor"] == editor]
    shares = {
        name: _share([row for row in of_editor if row["dataset"] == name], column)
        for name in {row["dataset"] for row in of_editor}
    }
    chosen = {name for name, share in shares.items() if 2 * share >= max(shares.values())}
    scope = [row for row in of_editor if row["dataset"] in chosen]
    return sorted(scope, key=lambda row: -_share([row], column))


def caused(scope: Sequence[Row], column: str, verb: str) -> str:
    """How many edits by one editor did this to each model.

    >>> hard = {"editor": "a", "dataset": "hard", "model": "small", "n_ok": 120, "n": 71}
    >>> caused([hard, hard | {"model": "large", "n": 9}], "n", "collapsed")
    'a collapsed small in 71 of 120 hard cases and large in 9 of 120'
    >>> caused([hard, hard | {"dataset": "normal", "n": 100}], "n", "collapsed")
    'a collapsed small in 171 of 240 cases'
    """
    models = list(dict.fromkeys(row["model"] for row in scope))
    datasets = {row["dataset"] for row in scope}
    of_data_set = f" {next(iter(datasets))}" if len(datasets) == 1 else ""

    def counted(names: Sequence[str]) -> str:
        rows = [row for row in scope if row["model"] in names]
        return f"{_sum(rows, column):,} of {_sum(rows, 'n_ok'):,}"

    first, *others = models[: NAMED if len(models) == NAMED else NAMED - 1]
    parts = [f"{first} in {counted([first])}{of_data_set} cases"]
    parts += [f"{model} in {counted([model])}" for model in others]
    if rest := models[len(parts) :]:
        parts.append(f"{len(rest):,} other models in {counted(rest)}")
    return f"{scope[0]['editor']} {verb} {listed(parts)}"


def _with_reason(study: ReportData, harm: Sequence[Row], rows: Sequence[Row]) -> str:
    editor = harm[0]["editor"]
    parts = [caused(harm, "n_collapsed", "collapsed")]
    others = [row for row in rows if row["editor"] != editor and row["n_collapsed"]]
    reason = cause(study, harm)
    if reason:
        parts.append(f": {reason}")
    if others:
        names = some(list(dict.fromkeys(row["editor"] for row in others)), "other editor")
        count = f"{_sum(others, 'n_collapsed'):,} of {_sum(others, 'n_ok'):,}"
        parts.append(f"{';' if reason else ','} and {names} in {count}")
    return "".join(parts) + "."


def cause(study: ReportData, harm: Sequence[Row]) -> str:
    """How much smaller the denominators of edits that collapsed a model are; "" if they are not.

    By medians over the editor's edits of each model, and the least factor of all models.
    """
    editor, models = harm[0]["editor"], {row["model"] for row in harm}
    factors = [_factor(study.made(model=model, editor=editor)) for model in models]
    least = min(factor or 0.0 for factor in factors)
    if least < SMALLER:
        return ""
    start = "there, its update’s denominator is"
    if least == math.inf:
        return f"{start} zero"
    size = 10 ** max(0, math.floor(math.log10(least)) - 1)
    times = f"{math.floor(least / size) * size:,} times"
    at_least = "at least " if len(factors) > 1 else ""
    return f"{start} {at_least}{times} smaller than in its other edits"


def _factor(made: pl.DataFrame) -> float | None:
    """Median denominator of edits that did not collapse the model, relative to those that did."""
    cases = made.drop_nulls(["denominator", "collapsed"])
    gone, left = (cases.filter(collapsed=one)["denominator"] for one in (True, False))
    if min(len(gone), len(left)) < FEWEST:
        return None
    small, large = real(gone.median()) or 0.0, real(left.median()) or 0.0
    return large / small if small else math.inf


@dataclass(frozen=True)
class Attempt:
    """An editor that was given the same cases, and its groups of them."""

    editor: str
    rows: tuple[Row, ...]

    @property
    def efficacy(self) -> float:
        """The least of its groups."""
        return min(taken(row)[0] for row in self.rows)

    @property
    def prefixed(self) -> bool:
        """Whether the efficacy of any group is the one after a prefix."""
        return any(taken(row)[1] for row in self.rows)


def cure(study: ReportData, harm: Sequence[Row]) -> str:
    """Which editors made the same edits without harm; "" if no other editor tried."""
    places = [_place(row) for row in harm]
    groups = [row for row in study.groups() if _place(row) in places]
    best = {place: max(taken(r)[0] for r in groups if _place(r) == place) for place in places}
    tried = [
        Attempt(editor, tuple(row for row in groups if row["editor"] == editor))
        for editor in study.editors
        if editor != harm[0]["editor"] and all(_tried(study, editor, row) for row in harm)
    ]
    if not tried:
        return ""
    cures = [
        one
        for one in tried
        if all(
            _unharmed(row) and taken(row)[0] >= max(AT_LEAST, TAKING * best[_place(row)])
            for row in one.rows
        )
    ]
    if not cures:
        return "No other editor made the same edits take without harm."
    least = math.floor(100 * min(one.efficacy for one in cures) + 1e-9) / 100
    took = "1.00" if least >= 1 else f"{least:.2f} or more"
    after = " after a prefix" if any(one.prefixed for one in cures) else ""
    rows = [row for one in cures for row in one.rows]
    lost = _sum(rows, "n_collapsed")
    end = f"collapsed {lost:,} of {_sum(rows, 'n_ok'):,}" if lost else "collapsed none"
    names = some([one.editor for one in cures], "editor")
    return f"{names}, which made the same edits with an efficacy of {took}{after}, {end}."


def taken(row: Row) -> tuple[float, bool]:
    """The larger of bare and prefixed efficacy, and whether that is the prefixed one."""
    bare, after = (row[f"{name}_mean"] or 0.0 for name in ("efficacy", "efficacy_prefixed"))
    return max(bare, after), after > bare


def failures(rows: Sequence[Row]) -> str:
    """How many edits failed, and why; "" if none did.

    >>> failures([{"failures": '{"target too long": 2}'}, {"failures": None}])
    '2 edits failed (target too long: 2).'
    """
    counts: dict[str, int] = {}
    for row in rows:
        for reason, count in json.loads(row["failures"] or "{}").items():
            counts[reason] = counts.get(reason, 0) + count
    if not counts:
        return ""
    reasons = "; ".join(f"{reason}: {count:,}" for reason, count in sorted(counts.items()))
    return f"{plural(sum(counts.values()), 'edit')} failed ({reasons})."


def some(names: Sequence[str], noun: str) -> str:
    """The names, if they are few, or their number.

    >>> some(["a", "b"], "editor"), some(list("abcd"), "editor")
    ('a and b', '4 editors')
    """
    return plural(len(names), noun) if len(names) > NAMED else listed(names)


def _tried(study: ReportData, editor: str, row: Row) -> bool:
    """Whether an editor was given all cases of another one's group."""
    cases = study.cases.filter(model=row["model"], dataset=row["dataset"])
    mine, theirs = (set(cases.filter(editor=one)["case_id"]) for one in (editor, row["editor"]))
    return theirs <= mine


def _unharmed(row: Row) -> bool:
    sound = row["n_ok"] - row["n_collapsed"] - (row["n_damaged"] or 0)
    return bool(sound >= UNHARMED * row["n"])


def _place(row: Row) -> tuple[str, str]:
    return row["model"], row["dataset"]


def _sum(rows: Sequence[Row], column: str) -> int:
    return sum(row[column] or 0 for row in rows)


def _share(rows: Sequence[Row], column: str) -> float:
    return _sum(rows, column) / max(1, _sum(rows, "n_ok"))
