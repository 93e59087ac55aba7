"""From free answers to their scores by editor, and some examples; free of torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from editcore.errors import DataError
from editcore.planning.jobs import EditJob
from editcore.records import planned
from editcore.records.answer_schemas import ANSWERS, ANSWERS_SUMMARY
from editcore.records.columns import keys
from editcore.records.provenance import merged
from editcore.records.tables import NO_JOBS, read_provenance, read_table, write_table

GROUP = keys(ANSWERS_SUMMARY)
SCORES = [
    f"{name}{ending}" for name in ("exact_match", "f1", "contains") for ending in ("_base", "")
]
# Cases of each editor and data set whose answers on the fact itself are kept as examples.
EXAMPLES = 20


def write_answers(
    files: Sequence[Path], out_dir: Path, jobs: Mapping[Path, EditJob] = NO_JOBS
) -> None:
    """Write the scores of all answers to `answers.parquet`, and `answers-examples.parquet`.

    Raises `DataError` for a file of another kind, or with a case that its job in `jobs` lacks.
    """
    if not files:
        raise DataError("no tables of free answers were given; a study needs `answers` for them")
    tables = {path: read_table(path, ANSWERS) for path in files}
    for path, job in jobs.items():
        found = set(tables[path]["case_id"])
        # A case whose edit failed has no answers; its row in the table of edits has the reason.
        expected = [f"case {case}" for case in job.case_ids if case in found]
        planned.require(path, expected, (f"case {case}" for case in found))
    answers = pl.concat(tables.values())
    provenance = merged([read_provenance(path) for path in files])
    write_table(out_dir / "answers.parquet", scores(answers), ANSWERS_SUMMARY, provenance)
    write_table(out_dir / "answers-examples.parquet", examples(answers), ANSWERS, provenance)


def scores(answers: pl.DataFrame) -> pl.DataFrame:
    """One row per model, editor, data set, measure and context: means over its questions."""
    means = answers.group_by(GROUP).agg(
        pl.col("case_id").n_unique().cast(pl.Int64).alias("n_cases"),
        pl.len().cast(pl.Int64).alias("n"),
        *(pl.col(name).mean() for name in (*SCORES, "unchanged")),
        pl.col("seconds").sum(),
    )
    best = answers.group_by(*GROUP, "case_id", "kind").agg(pl.col("exact_match").max())
    of_any = best.group_by(GROUP).agg(pl.col("exact_match").mean().alias("exact_match_any"))
    return means.join(of_any, on=GROUP).sort(GROUP)


def examples(answers: pl.DataFrame) -> pl.DataFrame:
    """The answers on the facts of the first cases of each model, editor and data set."""
    facts = answers.filter(measure="efficacy")
    place = pl.col("case_id").rank("dense").over("model", "editor", "dataset")
    return facts.filter(place <= EXAMPLES)
