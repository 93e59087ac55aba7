"""The comparison of two finished studies: what differs, what moved, and the outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from editcore.errors import DataError
from editcore.numbers import listed, number, plural, signed
from editcore.summary.compared import further
from editcore.summary.compared.finished import (
    Finished,
    read,
    relabelled,
    require_different,
)
from editcore.summary.compared.groups import FAILURE, GRADE, Group, groups
from editcore.summary.compared.joined import Joined, join
from editcore.summary.compared.likeness import missing, unlike
from editcore.summary.compared.paired import Outcome, overall
from editcore.summary.compared.settings import Setting, settings

REGRESSION, IMPROVED, UNCHANGED = "REGRESSION", "IMPROVED", "UNCHANGED"
WORDS: Mapping[Outcome, str] = MappingProxyType(
    {"worse": REGRESSION, "better": IMPROVED, "unchanged": UNCHANGED}
)
# Groups that the first sentence names.
MOST_NAMED = 3


@dataclass(frozen=True)
class Comparison:
    """A study against the first one.

    `unlike` are sentences on why numbers of the two are not of the same thing; `missing` on what
    only one of them has, or what could not be read.
    """

    old: Finished
    new: Finished
    settings: Sequence[Setting]
    joined: Joined
    groups: Sequence[Group]
    sequences: Sequence[further.SequencePair]
    tasks: Sequence[further.TaskPair]
    unlike: Sequence[str]
    missing: Sequence[str]

    @property
    def outcome(self) -> Outcome:
        """`worse` if any group is; otherwise `better` if any is."""
        return overall(group.outcome for group in self.groups)

    @property
    def identical(self) -> bool:
        """Whether both have the same cases, sequences and tasks with equal numbers, times aside."""
        joined = self.joined
        alone = joined.only_old or joined.only_new or joined.other_fact
        ends = any(pair.differs for pair in self.sequences)
        scores = any(pair.differs for pair in self.tasks)
        return not (alone or joined.different or ends or scores)

    @property
    def sentence(self) -> str:
        """The outcome, and the groups that decided it."""
        word, new, old = WORDS[self.outcome], self.new.name, self.old.name
        if self.identical:
            count = plural(len(self.joined.cases), "case")
            return (
                f"{word}: nothing moved from {old} to {new}; {count} with the same grades and "
                "numbers."
            )
        if self.outcome == "unchanged":
            moved = sum(len(group.moved) for group in self.groups)
            return (
                f"{word}: no group of {new} is significantly worse or better than in {old}; of "
                f"{plural(len(self.joined.cases), 'case')}, {plural(moved, 'grade')} moved."
            )
        parts = [self._side("worse"), self._side("better")]
        return f"{word}: {new} is {' It is '.join(part for part in parts if part)}"

    def _side(self, side: Outcome) -> str:
        """`worse than OLD in 1 of 4 groups: …`; empty if no group has such an outcome."""
        found = [group for group in self.groups if side in group.outcomes.values()]
        if not found:
            return ""
        named = [f"{group.name} ({_reasons(group, side)})" for group in found[:MOST_NAMED]]
        more = [f"{len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
        of = plural(len(self.groups), "group")
        return f"{side} than {self.old.name} in {len(found)} of {of}: {listed([*named, *more])}."


def compare(folders: Sequence[Path], names: Mapping[str, str]) -> list[Comparison]:
    """Each study against the first; `names` are labels of the others by those of the first.

    All are judged by the first one's thresholds. Raises `DataError` for fewer than two folders, a
    folder without a finished study or given twice, an unknown label, or studies without a case in
    common.
    """
    if len(folders) < 2:
        raise DataError(
            "give the results folders of two studies or more, the first to compare with"
        )
    require_different(folders)
    first, *others = relabelled([read(folder) for folder in folders], names)
    judged = first.judged_by(first.rule)
    return [_compared(judged, other, other.judged_by(first.rule)) for other in others]


def _compared(old: Finished, written: Finished, new: Finished) -> Comparison:
    """`new` is the study `written`, judged by the thresholds of `old`."""
    joined = join(old, new)
    differing = settings(old, written)
    parts = groups(joined)
    return Comparison(
        old=old,
        new=new,
        settings=differing,
        joined=joined,
        groups=parts,
        sequences=further.sequences(old, new),
        tasks=further.tasks(old, new),
        unlike=unlike(old, new, differing, joined),
        missing=missing(old, new, joined, parts),
    )


def _reasons(group: Group, side: Outcome) -> str:
    """What decided about a group, with its numbers."""
    words = []
    for name, moved in ((GRADE, group.grades), (FAILURE, group.failures)):
        if moved.outcome == side:
            counts = f"{moved.worse} worse, {moved.better} better"
            words.append(f"{name}: {counts}, p = {number(moved.p_value)}")
    for name, mean in group.metrics.items():
        if mean.outcome == side:
            words.append(f"{name} {signed(mean.difference)}")
    return "; ".join(words)
