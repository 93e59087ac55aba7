"""Tests which quantities foretell that a sequence of edits harms its model, and how early they do.

A rule raises an alarm the first time that its quantity reaches a threshold. An alarm after n edits
is right if the harm is found by the time of 2n edits, and false otherwise; so a rule that always
warns at once is mostly wrong. Its lead is the share of the edits up to the harm that were still to
come. A threshold is fitted on the sequences of some editors and models, and tested on the others:
of those with the fewest false alarms, it is the one with the longest mean lead. A fit that allowed
for more of them would have still more in the test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from editcore.collapse.verdict import HARMFUL
from editcore.config.collapse import Harm
from editcore.config.telemetry import TELEMETRY

MOST_FALSE = 0.05  # predictors with more false alarms in the test are ranked below all others
AHEAD = 2  # an alarm after n edits is right if the harm comes within this many times n
ENDS = (1e-12, 1e12)  # scores are compared by their logarithm; 0 and infinity are replaced by these
COMBINED = "combined"
STREAM = ("model", "editor", "dataset", "batch", "arrangement", "order")
# Each increases with the risk.
PREDICTORS: Mapping[str, pl.Expr] = MappingProxyType(
    {
        "perplexity_ratio": pl.col("perplexity_ratio"),
        "top1_changed": 1 - pl.col("top1_kept"),
        "kl_mean": pl.col("kl_mean"),
        "delta_norm": pl.col("delta_norm"),
        **{q.name: 1 / pl.col(q.name) if q.falls else pl.col(q.name) for q in TELEMETRY},
    }
)

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    """One sequence up to the harm: the numbers of edits at which it was measured, and log scores.

    `scores` has a row for each measurement and a column for each predictor, NaN where one is
    missing. `harm` is the number of edits at which the harm was found; None if it never was.
    """

    model: str
    editor: str
    edits: Numbers
    scores: Numbers
    harm: float | None


@dataclass(frozen=True)
class Tested:
    """How a predictor did on sequences of editors or models that it was not fitted on.

    `left_out` is what they were left out by: `editor` or `model`. Of `streams` sequences, `hits`
    were harmed; `warned` is the share of those with a right alarm, `lead` the median of their
    leads, 0 without one, and `false_alarms` the share of all sequences with a false alarm.
    `threshold` is the one fitted on all sequences, None for the combination.
    """

    predictor: str
    left_out: str
    streams: int
    hits: int
    warned: float
    lead: float
    false_alarms: float
    threshold: float | None


def streams(rows: pl.DataFrame, target: Harm) -> list[Stream]:
    """The sequences in the judged rows, each up to its first row with the target.

    A sequence that was harmed when it was first measured is left out: nothing could foretell it.
    """
    measured = rows.filter(pl.col("edits") > 0, pl.col("grade").is_not_null()).sort("edits")
    found = []
    for key, stream in measured.group_by(STREAM, maintain_order=True):
        hit = stream["grade"].is_in(HARMFUL[target])
        first = hit.arg_max() if hit.any() else len(stream)
        assert first is not None
        before = stream.head(first)
        if before.is_empty():
            continue
        scores = before.select(
            expression.cast(pl.Float64).clip(*ENDS).log10().alias(name)
            for name, expression in PREDICTORS.items()
        )
        harm = float(stream["edits"][first]) if first < len(stream) else None
        edits = before["edits"].cast(pl.Float64).to_numpy()
        found.append(Stream(str(key[0]), str(key[1]), edits, scores.to_numpy(), harm))
    return found


def ranked(found: Sequence[Stream]) -> list[Tested]:
    """Every predictor tested on each editor and each model left out, the longest leads first.

    Predictors that were not measured in all sequences are left out, and so is what would leave
    nothing to fit on.
    """
    complete = [
        name
        for place, name in enumerate(PREDICTORS)
        if all(np.isfinite(stream.scores[:, place]).all() for stream in found)
    ]
    tests = [
        test
        for left_out in ("editor", "model")
        for name in (*complete, *([COMBINED] if len(complete) > 1 else []))
        if (test := _tested(found, name, complete, left_out))
    ]
    return sorted(
        tests,
        key=lambda t: (t.left_out, t.false_alarms > MOST_FALSE, -t.lead, -t.warned, t.predictor),
    )


def _tested(
    found: Sequence[Stream], name: str, complete: Sequence[str], left_out: str
) -> Tested | None:
    groups = sorted({getattr(stream, left_out) for stream in found})
    if len(groups) < 2:
        return None
    leads, alarms, hits = [], [], []
    for group in groups:
        own = [stream for stream in found if getattr(stream, left_out) == group]
        others = [stream for stream in found if getattr(stream, left_out) != group]
        if not any(stream.harm for stream in others):
            return None
        lines = _lines([*others, *own], others, name, complete)
        threshold = _threshold(lines[: len(others)], others)
        for stream, line in zip(own, lines[len(others) :], strict=True):
            lead, false = _outcomes(line, stream, np.array([threshold]))
            leads.append(float(lead[0]))
            alarms.append(bool(false[0]))
            hits.append(stream.harm is not None)
    of_hits = [lead for lead, hit in zip(leads, hits, strict=True) if hit]
    if not of_hits:
        return None
    return Tested(
        name,
        left_out,
        len(leads),
        len(of_hits),
        float(np.mean([lead > 0 for lead in of_hits])),
        float(np.median(of_hits)),
        float(np.mean(alarms)),
        None if name == COMBINED else 10 ** _threshold(_lines(found, found, name, complete), found),
    )


def _lines(
    found: Sequence[Stream], fitted_on: Sequence[Stream], name: str, complete: Sequence[str]
) -> list[Numbers]:
    """The greatest score so far at each measurement of each sequence."""
    if name != COMBINED:
        place = list(PREDICTORS).index(name)
        return [np.maximum.accumulate(stream.scores[:, place]) for stream in found]
    from sklearn.linear_model import LogisticRegression  # imported late: it takes a second

    places = [list(PREDICTORS).index(each) for each in complete]
    inputs = np.concatenate([stream.scores[:, places] for stream in fitted_on])
    soon = np.concatenate([_soon(stream) for stream in fitted_on])
    weights = np.concatenate([np.full(len(s.edits), 1 / len(s.edits)) for s in fitted_on])
    middle, spread = inputs.mean(0), inputs.std(0).clip(min=1e-6)
    if len({*soon.tolist()}) < 2:
        return [np.zeros(len(stream.edits)) for stream in found]
    model = LogisticRegression(C=1.0, max_iter=2000).fit((inputs - middle) / spread, soon, weights)
    return [
        np.maximum.accumulate(model.decision_function((s.scores[:, places] - middle) / spread))
        for s in found
    ]


def _soon(stream: Stream) -> NDArray[np.bool_]:
    """At which measurements an alarm would be right."""
    if stream.harm is None:
        return np.zeros(len(stream.edits), dtype=bool)
    return stream.harm <= AHEAD * stream.edits


def _threshold(lines: Sequence[Numbers], found: Sequence[Stream]) -> float:
    """Of the thresholds with the fewest false alarms, the one with the longest mean lead."""
    candidates = np.unique(np.concatenate(lines))
    parts = [_outcomes(line, s, candidates) for line, s in zip(lines, found, strict=True)]
    lead = np.mean([part for part, _ in parts], axis=0)
    false = np.mean([part for _, part in parts], axis=0)
    allowed = false <= false.min()
    best = np.flatnonzero(allowed)[lead[allowed].argmax()]
    below = candidates[best - 1] if best else candidates[best] - 1
    return float((candidates[best] + below) / 2)


def _outcomes(
    line: Numbers, stream: Stream, thresholds: Numbers
) -> tuple[Numbers, NDArray[np.bool_]]:
    """For each threshold, the lead of a right alarm, 0 otherwise; and whether one is false."""
    places = np.searchsorted(line, thresholds)
    alarmed = places < len(line)
    at = stream.edits[np.minimum(places, len(line) - 1)]
    if stream.harm is None:
        return np.zeros(len(thresholds)), alarmed
    right = alarmed & (stream.harm <= AHEAD * at)
    return np.where(right, 1 - at / stream.harm, 0.0), alarmed & ~right
