"""The table of what foretells the end of a sequence."""

import polars as pl

from editcore.collapse.stream_warning import AHEAD, MOST_FALSE, Tested, ranked, streams
from editcore.collapse.verdict import HARMFUL
from editcore.numbers import number
from editcore.report.tables import Table

FEWEST = 4  # harmed sequences, below which nothing can be said
HEADS = (
    "what is foretold",
    "left out",
    "predictor",
    "sequences",
    "with it",
    "warned",
    "lead",
    "false alarms",
    "threshold",
)


def tables(rows: pl.DataFrame) -> list[Table]:
    """The predictors by lead; none if too few sequences were harmed, or all by the same editor."""
    found = {target: streams(rows, target) for target in HARMFUL}
    rows_shown = [
        cells(target, test)
        for target, some in found.items()
        if sum(stream.harm is not None for stream in some) >= FEWEST
        for test in ranked(some)
    ]
    if not rows_shown:
        return []
    caption = (
        "What foretells that a sequence harms its model. It is tested each time on an editor or a "
        "model that it was not fitted on. An alarm is raised the first time that the quantity "
        f"reaches the threshold, and is right if the harm comes within {AHEAD} times the edits "
        "made by then. Lead is the share of the edits up to the harm that were still to come, as "
        "a median over the harmed sequences, 0 for those without a right alarm. Predictors with "
        f"false alarms in at most {MOST_FALSE:.0%} of the sequences come first. The threshold "
        "shown is fitted on all sequences, with as few false alarms as possible. Sequences that "
        "were harmed when first measured are left out."
    )
    return [Table(caption, HEADS, tuple(rows_shown), 3)]


def cells(target: str, test: Tested) -> tuple[str, ...]:
    """A predictor's line, under `HEADS`."""
    return (
        target,
        f"each {test.left_out}",
        test.predictor,
        f"{test.streams:,}",
        f"{test.hits:,}",
        f"{test.warned:.0%}",
        f"{test.lead:.0%}",
        f"{test.false_alarms:.0%}",
        number(test.threshold),
    )
