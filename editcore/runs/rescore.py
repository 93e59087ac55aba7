"""Scores free answers that were kept in tables again, with any judge."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from editcore.errors import DataError
from editcore.evaluation.judges import ChosenJudge, Judged, NamedJudge
from editcore.progress import progress_bar
from editcore.records.answer_schemas import ANSWER_KEYS, ANSWERS, JUDGED
from editcore.records.columns import schema_name
from editcore.records.provenance import merged, versions
from editcore.records.tables import read_provenance, read_schema_name, read_table, write_table

# The tables of answers in a folder of results.
FOLDER, FILES = "answers", "shard-*.parquet"
# Answers that a judge is given at a time; progress is shown between them.
AT_A_TIME = 256


@dataclass(frozen=True)
class Answers:
    """The rows of answer tables, and the provenance of each file."""

    rows: pl.DataFrame
    sources: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Rescored:
    """Answers with a judge's scores, which are in the columns `judged_base` and `judged`."""

    judge: ChosenJudge
    answers: Answers
    rows: pl.DataFrame

    @property
    def options(self) -> dict[str, Any]:
        """The judge's options, with defaults."""
        return self.judge.options.model_dump(mode="json")

    def save(self, path: Path) -> None:
        """Write the scores; the provenance is the judge's and that of the answers."""
        source = self.judge.registered.source
        about = {
            "name": self.judge.name,
            "distribution": source.distribution,
            "version": source.version,
            "code": source.code,
            "options": self.options,
            **self.judge.options.origin(),
        }
        scores = self.rows.with_columns(
            judge=pl.lit(self.judge.name),
            judge_options=pl.lit(json.dumps(self.options, sort_keys=True)),
        )
        made = {"judge": about, "answers": merged(self.answers.sources), "versions": versions()}
        write_table(path, scores.select(JUDGED.names), JUDGED, made)


def answer_files(places: Iterable[Path]) -> list[Path]:
    """The answer tables: the files among `places`, and those in its folders.

    A folder is a results folder, its folder of answers, or a part of that. Raises `DataError` for a
    place that does not exist, and for a folder without answers.
    """
    return list(dict.fromkeys(file for place in places for file in _files(place)))


def read_answers(files: Sequence[Path]) -> Answers:
    """The rows of answer tables, ordered by their keys.

    Raises `DataError` for a table of another kind, one that was changed, and tables without any
    answer, and for an answer that is in two files.
    """
    for file in files:
        _require_answers(file)
    rows = pl.concat([read_table(file, ANSWERS) for file in files]).sort(ANSWER_KEYS)
    if rows.is_empty():
        raise DataError(
            f"{files[0]}: has no answers; give tables of edits whose models were asked freely"
        )
    twice = rows.filter(rows.select(ANSWER_KEYS).is_duplicated())
    if not twice.is_empty():
        model, editor, dataset, case_id, *_ = twice.select(ANSWER_KEYS).row(0)
        raise DataError(
            f"answers of case {case_id} of {model}, {editor}, {dataset} are in two files; give "
            "each shard once"
        )
    return Answers(rows, [read_provenance(file) for file in files])


def rescore(answers: Answers, judge: ChosenJudge, *, shown: bool = True) -> Rescored:
    """The edited and the unedited models' answers with the judge's scores.

    Each different answer to a question is judged once. `shown` is whether progress is. Raises
    `PluginError` for a judge that breaks its contract, and `ModelError` if its model cannot be
    loaded.
    """
    base, edited = (_judged(answers.rows, column) for column in ("answer_base", "answer"))
    scores = _scores(judge.open(), list(dict.fromkeys([*base, *edited])), shown)
    columns = {"judged_base": base, "judged": edited}
    rows = answers.rows.with_columns(
        pl.Series(name, [scores[each] for each in column], pl.Float64)
        for name, column in columns.items()
    )
    return Rescored(judge, answers, rows)


def _files(place: Path) -> Iterator[Path]:
    if not place.exists():
        raise DataError(
            f"there is no file or folder {place}; give answer tables, or a folder of results"
        )
    if not place.is_dir():
        yield place
        return
    inside = place / FOLDER
    files = sorted((inside if inside.is_dir() else place).rglob(FILES))
    if not files:
        raise DataError(
            f"{place}: has no answers ({FOLDER}/…/{FILES}); give the results of a study that asks "
            "for free answers"
        )
    yield from files


def _require_answers(file: Path) -> None:
    """Raise `DataError` for a table of another kind."""
    name, wanted = read_schema_name(file), schema_name(ANSWERS)
    if name.partition("/")[0] != wanted.partition("/")[0]:
        raise DataError(
            f"{file}: contains {name or 'another table'}, not free answers ({wanted}); give files "
            f"of results/{FOLDER}"
        )


def _judged(rows: pl.DataFrame, column: str) -> list[Judged]:
    columns = rows.select("question", "accepted", column).iter_rows()
    return [Judged(question, tuple(accepted), answer) for question, accepted, answer in columns]


def _scores(
    judge: NamedJudge, answers: Sequence[Judged], shown: bool
) -> dict[Judged, float | None]:
    scores: dict[Judged, float | None] = {}
    with progress_bar(title="judge", unit="answer", total=len(answers), shown=shown) as bar:
        for first in range(0, len(answers), AT_A_TIME):
            part = answers[first : first + AT_A_TIME]
            scores |= zip(part, judge(part), strict=True)
            bar.update(len(part))
    return scores
