"""Sequences, tasks and costs of two studies, matched by what they are of."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from editcore.collapse.verdict import COLLAPSED
from editcore.records.schemas import CASE_KEYS
from editcore.requests import OK
from editcore.summary.compared.finished import LABELS, Finished
from editcore.summary.compared.paired import PairedMean, paired_mean

SEQUENCE = (*LABELS, "batch", "order", "arrangement")
MODEL_IN_TASK = ("model", "task", "editor", "dataset", "case_id")


@dataclass(frozen=True)
class SequenceEnd:
    """Where a sequence ended: its edits, the edits up to its first collapse, and what was left.

    `collapse` is None without one; the others are None if they were not measured.
    """

    edits: int
    collapse: int | None
    grade: str | None
    efficacy: float | None
    locality: float | None


@dataclass(frozen=True)
class SequencePair:
    """A sequence in both studies, by its labels, facts per step, seed and arrangement."""

    key: tuple[str, ...]
    old: SequenceEnd
    new: SequenceEnd

    @property
    def differs(self) -> bool:
        """Whether anything about the end differs."""
        return self.old != self.new


@dataclass(frozen=True)
class TaskPair:
    """A model's scores in a task: unedited, and the mean over the edited models of both studies."""

    model: str
    task: str
    unedited_old: float | None
    unedited_new: float | None
    edited: PairedMean

    @property
    def differs(self) -> bool:
        """Whether a mean or the unedited model's score differs."""
        return self.edited.old != self.edited.new or self.unedited_old != self.unedited_new


@dataclass(frozen=True)
class Cost:
    """What a stage's jobs used: their number, seconds, and the largest peak memory in megabytes."""

    jobs: int
    seconds: float
    cpu_seconds: float
    memory: float


def sequences(old: Finished, new: Finished) -> list[SequencePair]:
    """The sequences that both studies have."""
    if old.sequences is None or new.sequences is None:
        return []
    before, after = _ends(old.sequences), _ends(new.sequences)
    return [SequencePair(key, before[key], after[key]) for key in before if key in after]


def tasks(old: Finished, new: Finished) -> list[TaskPair]:
    """Each model and task with scores in both studies."""
    if old.tasks is None or new.tasks is None:
        return []
    before, after = (
        study.filter(pl.col("status") == OK).select(*MODEL_IN_TASK, "score")
        for study in (old.tasks, new.tasks)
    )
    both = before.join(after, on=MODEL_IN_TASK, how="inner", nulls_equal=True, suffix="_new")
    parts = both.sort(MODEL_IN_TASK[:2]).partition_by(
        MODEL_IN_TASK[:2], as_dict=True, maintain_order=True
    )
    return [_task(str(model), str(task), rows) for (model, task), rows in parts.items()]


def unmatched(old: Finished, new: Finished) -> tuple[int, int]:
    """How many edited models only one study has scores of, if both have some."""
    if old.tasks is None or new.tasks is None:
        return 0, 0
    before, after = (
        set(study.drop_nulls("case_id").select(CASE_KEYS).iter_rows())
        for study in (old.tasks, new.tasks)
    )
    return len(before - after), len(after - before)


def costs(study: Finished) -> dict[str, Cost]:
    """What each stage used, by its name; empty if the folder has no records of that."""
    stages: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for path, used in study.costs.items():
        stages[path.split("/", 1)[0].removesuffix(".json")].append(used)
    return {
        stage: Cost(
            len(jobs),
            sum(job["seconds"] for job in jobs),
            sum(job["cpu_seconds"] for job in jobs),
            max(job["peak_memory_mb"] for job in jobs),
        )
        for stage, jobs in stages.items()
    }


def _ends(rows: pl.DataFrame) -> dict[tuple[str, ...], SequenceEnd]:
    """The end of each sequence, by its key."""
    last = (pl.col(name).drop_nulls().last() for name in ("grade", "efficacy_so_far", "locality"))
    ends = (
        rows.sort(*SEQUENCE, "step")
        .group_by(SEQUENCE, maintain_order=True)
        .agg(
            pl.col("edits").last(),
            pl.col("edits").filter(pl.col("grade") == COLLAPSED).first().alias("collapse"),
            *last,
        )
    )
    width = len(SEQUENCE)
    return {tuple(map(str, row[:width])): SequenceEnd(*row[width:]) for row in ends.iter_rows()}


def _task(model: str, task: str, rows: pl.DataFrame) -> TaskPair:
    edited = rows.filter(pl.col("case_id").is_not_null())
    bare = rows.filter(pl.col("case_id").is_null())
    scores = None, None
    if len(bare):
        scores = bare["score"][0], bare["score_new"][0]
    mean = paired_mean(edited["score"].to_list(), edited["score_new"].to_list())
    return TaskPair(model, task, *scores, mean)
