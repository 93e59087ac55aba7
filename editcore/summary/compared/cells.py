"""The tables of a comparison as plain cells, for a terminal and for a page."""

from collections.abc import Sequence
from dataclasses import dataclass

from editcore.numbers import MISSING, duration, number, share, signed, storage, times
from editcore.summary.compared.comparison import WORDS, Comparison
from editcore.summary.compared.further import SequenceEnd, costs
from editcore.summary.compared.groups import DECIDING, Group
from editcore.summary.compared.joined import STATES
from editcore.summary.compared.paired import PairedMean

WHERE = ("model", "editor", "data set")
LONGEST = 60
Row = tuple[str, ...]


@dataclass(frozen=True)
class Cells:
    """A caption, the column heads and the rows; the first `labels` columns are text."""

    caption: str
    heads: Row
    rows: tuple[Row, ...]
    labels: int = len(WHERE)


def outcomes(found: Sequence[Comparison]) -> Cells:
    """The outcome of every group in each study, a column for each."""
    labels = dict.fromkeys(group.labels for each in found for group in each.groups)
    words = [{group.labels: WORDS[group.outcome] for group in each.groups} for each in found]
    return Cells(
        f"Every group of each study against {found[0].old.name}.",
        (*WHERE, *(each.new.name for each in found)),
        tuple((*key, *(each.get(key, MISSING) for each in words)) for key in sorted(labels)),
        len(WHERE) + len(found),
    )


def overview(found: Comparison) -> Cells:
    """Each group, the worse ones first: its cases, grades that moved, differences of means."""
    order = list(WORDS)
    rows = [
        (
            *group.labels,
            WORDS[group.outcome],
            f"{group.n:,}",
            f"{group.grades.worse:,}",
            f"{group.grades.better:,}",
            *(signed(group.metrics[name].difference) for name in DECIDING),
            times(group.quantities["perplexity_ratio"].factor),
        )
        for group in sorted(found.groups, key=lambda group: order.index(group.outcome))
    ]
    heads = (*WHERE, "outcome", "cases", "worse", "better", *DECIDING, "perplexity")
    return Cells(
        f"Cases of both studies, {found.new.name} against {found.old.name}: grades that got worse "
        "and better, differences of means, and the median factor of the perplexity ratio.",
        heads,
        tuple(rows),
        len(WHERE) + 1,
    )


def means(found: Comparison) -> Cells:
    """The metrics that differ, with the interval of the difference."""
    rows = [
        (*group.labels, name, f"{mean.n:,}", share(mean.old), share(mean.new), *_difference(mean))
        for group in found.groups
        for name, mean in group.metrics.items()
        if mean.difference
    ]
    return Cells(
        "Means that differ, over the same cases, with the 95 % interval of the difference.",
        (*WHERE, "metric", "cases", "old", "new", "difference", "interval"),
        tuple(rows),
        len(WHERE) + 1,
    )


def quantities(found: Comparison) -> Cells:
    """Quantities of the edits that differ in some case: medians, and the median factor."""
    rows = [
        (
            *group.labels,
            name.replace("_", " "),
            f"{each.equal:,} of {each.n:,}",
            _amount(name, each.old),
            _amount(name, each.new),
            times(each.factor),
        )
        for group in found.groups
        for name, each in group.quantities.items()
        if each.equal < each.n
    ]
    return Cells(
        "Quantities of each edit: how many cases are equal (up to 1 in 10,000), the medians, and "
        "the median over cases of new / old.",
        (*WHERE, "quantity", "equal", "old", "new", "factor"),
        tuple(rows),
        len(WHERE) + 1,
    )


def matrix(group: Group) -> Cells:
    """How many cases moved from each state (down) to each (across)."""
    there = [state for state in STATES if any(state in pair for pair in group.moves)]
    rows = tuple((a, *(f"{group.moves.get((a, b), 0):,}" for b in there)) for a in there)
    return Cells("", ("from \\ to", *there), rows, 1)


def moved(group: Group) -> Cells:
    """The cases that moved, worst first."""
    rows = [
        (
            f"{case.case_id}",
            case.subject,
            case.old,
            case.new,
            times(case.old_ratio),
            times(case.new_ratio),
        )
        for case in group.moved
    ]
    heads = ("case", "subject", "old", "new", "old perplexity", "new perplexity")
    return Cells("", heads, tuple(rows), 4)


def sequences(found: Comparison) -> Cells:
    """The sequences of edits that ended differently."""
    rows = [
        (*pair.key[:3], _run(pair.key), *_ends(pair.old, pair.new))
        for pair in found.sequences
        if pair.differs
    ]
    return Cells(
        "Sequences that differ: the edits up to the first collapse, the last grade, and efficacy "
        "and locality at the end, old → new.",
        (*WHERE, "sequence", "edits", "collapse", "grade", "efficacy", "locality"),
        tuple(rows),
        len(WHERE) + 1,
    )


def tasks(found: Comparison) -> Cells:
    """Tasks whose scores differ, of the unedited model or of the models edited in both studies."""
    rows = [
        (
            pair.model,
            pair.task,
            f"{share(pair.unedited_old)} → {share(pair.unedited_new)}",
            f"{pair.edited.n:,}",
            share(pair.edited.old),
            share(pair.edited.new),
            *_difference(pair.edited),
        )
        for pair in found.tasks
        if pair.differs
    ]
    heads = ("model", "task", "unedited", "edited", "old", "new", "difference", "interval")
    return Cells("Scores in tasks that differ, over the same edited models.", heads, tuple(rows), 2)


def costs_of(found: Comparison) -> Cells:
    """What the stages of both studies used."""
    before, after = costs(found.old), costs(found.new)
    rows = [
        (
            stage,
            f"{a.jobs:,} → {b.jobs:,}",
            f"{duration(a.cpu_seconds)} → {duration(b.cpu_seconds)}",
            times(b.cpu_seconds / a.cpu_seconds if a.cpu_seconds else None),
            f"{storage(1e6 * a.memory)} → {storage(1e6 * b.memory)}",
            times(b.memory / a.memory if a.memory else None),
        )
        for stage, a in before.items()
        if (b := after.get(stage))
    ]
    return Cells(
        "What the jobs of each stage used: time of processors, and the largest peak memory.",
        ("stage", "jobs", "time", "factor", "memory", "factor"),
        tuple(rows),
        1,
    )


def settings(found: Comparison) -> Cells:
    """The settings that differ."""
    rows = tuple(
        (each.part, each.name, *(shorten(value) for value in (each.old, each.new)))
        for each in found.settings
    )
    heads = ("of", "setting", found.old.name, found.new.name)
    return Cells("Settings that differ.", heads, rows, 4)


def shorten(text: str) -> str:
    """A text of at most `LONGEST` letters.

    >>> len(shorten(100 * "a")), shorten("seed")
    (60, 'seed')
    """
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _difference(mean: PairedMean) -> tuple[str, str]:
    interval = MISSING if mean.low is None else f"{signed(mean.low)} to {signed(mean.high)}"
    return signed(mean.difference), interval


def _amount(name: str, value: float | None) -> str:
    match name:
        case "seconds_editing":
            return MISSING if value is None else f"{number(value)} s"
        case "peak_memory":
            return storage(value)
        case "perplexity_ratio":
            return times(value)
    return number(value)


def _run(key: Row) -> str:
    """The seed, and what else a sequence has of its own."""
    _, _, _, batch, order, arrangement = key
    several = f", {batch} per step" if batch != "1" else ""
    return f"seed {order}{several}" + (f", {arrangement}" if arrangement != "drawn" else "")


def _ends(old: SequenceEnd, new: SequenceEnd) -> Row:
    pairs = (
        (f"{old.edits:,}", f"{new.edits:,}"),
        (number(old.collapse), number(new.collapse)),
        (old.grade or MISSING, new.grade or MISSING),
        (share(old.efficacy), share(new.efficacy)),
        (share(old.locality), share(new.locality)),
    )
    return tuple(a if a == b else f"{a} → {b}" for a, b in pairs)
