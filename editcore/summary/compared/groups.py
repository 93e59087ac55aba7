"""What became of the same cases: grades, metrics and quantities of a model, editor, data set."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from editcore.collapse.verdict import GRADES
from editcore.summary.compared.finished import LABELS
from editcore.summary.compared.joined import FAILED, STATES, Joined, close
from editcore.summary.compared.paired import Moved, Outcome, PairedMean, overall, paired_mean

# Metrics that decide whether a group got worse; of each, larger is better.
DECIDING = ("efficacy", "generalization", "locality")
QUANTITIES = ("perplexity_ratio", "denominator", "delta_norm", "seconds_editing", "peak_memory")
GRADE, FAILURE = "grades", "failed edits"
# The place of a state among those that are compared; None for one that is not.
Rank = Callable[[str], int | None]


@dataclass(frozen=True)
class Quantity:
    """A positive quantity of `n` cases: how many are equal, both medians, and the median factor.

    The factor is new over old of each case; None without cases.
    """

    n: int
    equal: int
    old: float | None
    new: float | None
    factor: float | None


@dataclass(frozen=True)
class MovedCase:
    """A case whose grade changed, or whose edit began or ceased to fail."""

    case_id: int
    subject: str
    old: str
    new: str
    old_ratio: float | None
    new_ratio: float | None

    @property
    def steps(self) -> int:
        """How many grades worse it got; a failed edit is worse than any grade."""
        return STATES.index(self.new) - STATES.index(self.old)


@dataclass(frozen=True)
class Group:
    """The shared cases of one model, editor and data set.

    `moves` counts cases by their old and new state: a grade, or why there is none. `metrics` and
    `quantities` are over the cases of which both studies have the number. `moved` are the cases
    whose state changed, worst first.
    """

    labels: tuple[str, ...]
    n: int
    moves: Mapping[tuple[str, str], int]
    moved: tuple[MovedCase, ...]
    metrics: Mapping[str, PairedMean]
    quantities: Mapping[str, Quantity]

    @property
    def name(self) -> str:
        """In words."""
        model, editor, dataset = self.labels
        return f"{editor} on {model}, {dataset}"

    @property
    def grades(self) -> Moved:
        """Cases whose grade got worse or better; of edits that succeeded in both."""
        places = {grade: place for place, grade in enumerate(GRADES)}
        return self._counted(places.get)

    @property
    def failures(self) -> Moved:
        """Cases whose edit fails in only one of the studies."""
        return self._counted(lambda state: int(state == FAILED))

    def _counted(self, rank: Rank) -> Moved:
        ranked = [(rank(a), rank(b), count) for (a, b), count in self.moves.items()]
        known = [(a, b, count) for a, b, count in ranked if a is not None and b is not None]
        worse = sum(count for a, b, count in known if b > a)
        return Moved(worse, sum(count for a, b, count in known if b < a))

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """What decides about the group, each with its outcome."""
        counts = {GRADE: self.grades.outcome, FAILURE: self.failures.outcome}
        return counts | {name: mean.outcome for name, mean in self.metrics.items()}

    @property
    def outcome(self) -> Outcome:
        """`worse` if anything is; otherwise `better` if anything is."""
        return overall(self.outcomes.values())


def groups(joined: Joined) -> list[Group]:
    """The groups of the shared cases, ordered by their labels."""
    parts = joined.cases.partition_by(LABELS, as_dict=True, maintain_order=True)
    return [_group(tuple(map(str, labels)), cases) for labels, cases in parts.items()]


def _group(labels: tuple[str, ...], cases: pl.DataFrame) -> Group:
    return Group(
        labels=labels,
        n=len(cases),
        moves=Counter(cases.select("old.state", "new.state").iter_rows()),
        moved=_moved(cases),
        metrics={name: _metric(cases, name) for name in DECIDING},
        quantities={name: _quantity(cases, name) for name in QUANTITIES},
    )


def _moved(cases: pl.DataFrame) -> tuple[MovedCase, ...]:
    rows = cases.filter(pl.col("old.state") != pl.col("new.state")).select(
        "case_id",
        "old.subject",
        "old.state",
        "new.state",
        "old.perplexity_ratio",
        "new.perplexity_ratio",
    )
    found = [MovedCase(*row) for row in rows.iter_rows()]
    return tuple(sorted(found, key=lambda c: (-c.steps, -(c.new_ratio or 0.0), c.case_id)))


def _metric(cases: pl.DataFrame, name: str) -> PairedMean:
    old, new = _pairs(cases, name)
    return paired_mean(old.to_list(), new.to_list())


def _quantity(cases: pl.DataFrame, name: str) -> Quantity:
    old, new = _pairs(cases, name)
    if old.is_empty():
        return Quantity(0, 0, None, None, None)
    pairs = pl.DataFrame({"old": old.cast(pl.Float64), "new": new.cast(pl.Float64)})
    a, b = pl.col("old"), pl.col("new")
    equal, *middle = pairs.select(
        equal=close(a, b).sum(),
        old=a.median(),
        new=b.median(),
        factor=pl.when(a == b).then(1.0).otherwise(b / a).median(),
    ).row(0)
    return Quantity(len(pairs), int(equal), *middle)


def _pairs(cases: pl.DataFrame, name: str) -> tuple[pl.Series, pl.Series]:
    """The values of the cases of which both studies have one."""
    both = cases.select(f"old.{name}", f"new.{name}").drop_nulls()
    return both[f"old.{name}"], both[f"new.{name}"]
