"""The cases that two studies share, and those that only one has."""

from dataclasses import dataclass

import polars as pl

from editcore.collapse.verdict import GRADES
from editcore.errors import DataError
from editcore.records.schemas import CASE_KEYS
from editcore.requests import OK
from editcore.summary.compared.finished import LABELS, Finished

FACT = ("prompt", "subject", "target_new", "target_true")
# What a repeated run of the same study changes.
CLOCKS = ("seconds", "seconds_editing", "peak_memory")
FAILED, UNGRADED = "failed", "not graded"
STATES = (*GRADES, UNGRADED, FAILED)
# Numbers of which neither differs by more than this share of the larger one count as equal.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Joined:
    """Cases of the same fact in both studies, with each column as `old.NAME` and `new.NAME`.

    `only_old` and `only_new` are the numbers of other cases, by model, editor and data set,
    `other_fact` the number of cases that have another fact under the same number, and `different`
    the columns of which some value differs, without clocks.
    """

    cases: pl.DataFrame
    only_old: dict[tuple[str, ...], int]
    only_new: dict[tuple[str, ...], int]
    other_fact: int
    different: tuple[str, ...]


def join(old: Finished, new: Finished) -> Joined:
    """Join the cases of two studies by model, editor, data set and case number.

    Raises `DataError` if no case with the same fact is in both.
    """
    before, after = (study.cases.with_columns(state=_state()) for study in (old, new))
    sides = [
        frame.rename({name: f"{side}.{name}" for name in frame.columns if name not in CASE_KEYS})
        for side, frame in (("old", before), ("new", after))
    ]
    both = sides[0].join(sides[1], on=CASE_KEYS, how="inner").sort(CASE_KEYS)
    same = pl.all_horizontal(*(_equal(name) for name in FACT))
    cases = both.filter(same)
    if cases.is_empty():
        raise DataError(
            f"{old.name} and {new.name} have no case in common (a model, editor, data set and "
            "fact); give studies of the same cases, or map labels with --as OLD=NEW"
        )
    shared = [name for name in before.columns if name in after.columns]
    compared = [name for name in shared if name not in (*CASE_KEYS, *CLOCKS, "state")]
    unequal = cases.select((~_equal(name)).any().alias(name) for name in compared)
    return Joined(
        cases=cases,
        only_old=_counts(before, after),
        only_new=_counts(after, before),
        other_fact=len(both) - len(cases),
        different=tuple(name for name in compared if unequal[name][0]),
    )


def close(old: pl.Expr, new: pl.Expr) -> pl.Expr:
    """Whether numbers are equal, infinity included, or differ by less than `TOLERANCE`."""
    larger = pl.max_horizontal(old.abs(), new.abs())
    near = ((new - old).abs() <= TOLERANCE * larger) & larger.is_finite()
    return (old == new) | near


def _equal(name: str) -> pl.Expr:
    return pl.col(f"old.{name}").eq_missing(pl.col(f"new.{name}"))


def _state() -> pl.Expr:
    """The grade of the edited model, or why there is none."""
    failed = pl.col("status") != OK
    return pl.when(failed).then(pl.lit(FAILED)).otherwise(pl.col("grade").fill_null(UNGRADED))


def _counts(these: pl.DataFrame, others: pl.DataFrame) -> dict[tuple[str, ...], int]:
    """The number of rows in a group that the other table has not."""
    alone = these.join(others, on=CASE_KEYS, how="anti").group_by(LABELS).len().sort(LABELS)
    return {tuple(labels): count for *labels, count in alone.iter_rows()}
