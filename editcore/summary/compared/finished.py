"""A finished study, as a comparison reads it from its results folder."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from editcore.collapse.verdict import judged
from editcore.config.collapse import CollapseSection
from editcore.config.messages import nearest
from editcore.errors import DataError, reading
from editcore.planning.paths import RESULTS, STUDY_FILE, summary
from editcore.records.columns import schema_name
from editcore.records.schemas import CASES, DOWNSTREAM, GROUP, SEQUENCES_JUDGED
from editcore.records.tables import (
    OLD_CASES,
    OLDER,
    read_older,
    read_provenance,
    read_schema_name,
    read_table,
)

COSTS = ("seconds", "cpu_seconds", "peak_memory_mb")
LABELS = tuple(column.name for column in GROUP)


@dataclass(frozen=True)
class Finished:
    """The tables, provenance and settings of a study.

    `about` is the provenance of the cases, `config` the study's settings (empty if the folder has
    no `study.json`), `revisions` the hash or commit of each model's weights if known, `costs` what
    each job used, by the path of its record. `notes` are sentences on what could not be read.
    """

    folder: Path
    cases: pl.DataFrame
    about: Mapping[str, Any]
    config: Mapping[str, Any]
    revisions: Mapping[str, str]
    sequences: pl.DataFrame | None
    tasks: pl.DataFrame | None
    costs: Mapping[str, Mapping[str, float]]
    notes: Sequence[str]

    @property
    def name(self) -> str:
        """The folder as the user wrote it."""
        return str(self.folder)

    @property
    def rule(self) -> CollapseSection:
        """The thresholds that its edits were judged by; the default ones if it names none."""
        known = self.about.get("collapse", {})
        fields = CollapseSection.model_fields
        return CollapseSection.model_validate({n: known[n] for n in fields if n in known})

    def labels(self, column: str) -> set[str]:
        """The labels of its models, editors or data sets."""
        return set(self.cases[column])

    def judged_by(self, rule: CollapseSection) -> "Finished":
        """The same study, judged by other thresholds."""
        sequences = None if self.sequences is None else judged(self.sequences, rule)
        return replace(self, cases=judged(self.cases, rule), sequences=sequences)


def read(folder: Path) -> Finished:
    """The study in a results folder; raises `DataError` if there is none, or a file is damaged."""
    path = _inside(folder, summary("cases"))
    if not path.is_file():
        raise DataError(
            f"{folder} has no summary/cases.parquet, so it contains no finished study; run the "
            "study to its end, or give the folder of its results"
        )
    notes: list[str] = []
    if (version := read_schema_name(path)) != schema_name(CASES):
        notes.append(f"the cases of {folder} are of an older version, {version}")
    return Finished(
        folder=folder,
        cases=read_older(path, CASES, OLD_CASES),
        about=read_provenance(path),
        config=_config(folder, notes),
        revisions=_revisions(folder),
        sequences=_table(_inside(folder, summary("sequences")), SEQUENCES_JUDGED, notes),
        tasks=_table(_inside(folder, summary("downstream")), DOWNSTREAM, notes),
        costs=_costs(folder, notes),
        notes=notes,
    )


def relabelled(studies: Sequence[Finished], names: Mapping[str, str]) -> list[Finished]:
    """The studies, with labels of the first replaced by those that the others have for the same.

    `names` are new labels by old ones, of models, editors or data sets. Raises `DataError` if the
    first study has no such old label or already has the new one, or no other has the new one.
    """
    first, *others = studies
    for old, new in names.items():
        columns = [column for column in LABELS if old in first.labels(column)]
        if not columns:
            known = {label for column in LABELS for label in first.labels(column)}
            raise DataError(f"{first.name} has no label {old!r}. {nearest(old, known)}")
        for column in columns:
            if new in first.labels(column):
                raise DataError(
                    f"{first.name} has both {old!r} and {new!r}, so one cannot be compared as the "
                    f"other; give a study of {old!r} alone as the first"
                )
            there = {label for study in others for label in study.labels(column)}
            if new not in there:
                raise DataError(f"no other study has the {column} {new!r}. {nearest(new, there)}")
    return [_renamed(first, names), *others]


def _renamed(study: Finished, names: Mapping[str, str]) -> Finished:
    def renamed(table: pl.DataFrame) -> pl.DataFrame:
        return table.with_columns(pl.col(LABELS).replace(dict(names)))

    def keyed(of: object) -> dict[str, Any]:
        content = of if isinstance(of, Mapping) else {}
        return {names.get(label, label): value for label, value in content.items()}

    about = {**study.about, **{f"{each}s": keyed(study.about.get(f"{each}s")) for each in LABELS}}
    return replace(
        study,
        cases=renamed(study.cases),
        about=about,
        revisions=keyed(study.revisions),
        sequences=None if study.sequences is None else renamed(study.sequences),
        tasks=None if study.tasks is None else renamed(study.tasks),
    )


def _inside(folder: Path, path: Path) -> Path:
    """A path of a study's results in another folder than `results`."""
    return folder / path.relative_to(RESULTS)


def _table(path: Path, schema: pa.Schema, notes: list[str]) -> pl.DataFrame | None:
    """A further table of the summary; None if there is none, or a version that cannot be read."""
    if not path.is_file():
        return None
    known = (schema_name(schema), *OLDER.get(schema_name(schema), ()))
    if (version := read_schema_name(path)) not in known:
        notes.append(f"{path} is not compared: it is of another version, {version or 'unknown'}")
        return None
    return read_table(path, schema)


def _config(folder: Path, notes: list[str]) -> Mapping[str, Any]:
    """The settings in `study.json`, whatever version wrote them."""
    path = _inside(folder, STUDY_FILE)
    if not path.is_file():
        notes.append(f"{folder} has no jobs/study.json, so its settings are known only in part")
        return {}
    with reading(path, "study manifest", "run `editcore plan` to write it again"):
        return dict(json.loads(path.read_bytes())["config"])


def _revisions(folder: Path) -> dict[str, str]:
    """The revision of each model, from the provenance of one of its shards."""
    found = {}
    for place in sorted((folder / "edits").glob("model=*")):
        for shard in sorted(place.rglob("*.parquet"))[:1]:
            if revision := read_provenance(shard).get("revision"):
                found[place.name.removeprefix("model=")] = str(revision)
    return found


def _costs(folder: Path, notes: list[str]) -> dict[str, Mapping[str, float]]:
    """What each job used: seconds, seconds of processors, and peak memory in megabytes."""
    place = folder / "benchmarks"
    found: dict[str, Mapping[str, float]] = {}
    for path in sorted(place.rglob("*.json")):
        try:
            with reading(path, "record of what a job used"):
                used = dict(json.loads(path.read_bytes()))
                found[path.relative_to(place).as_posix()] = {
                    name: float(used[name]) for name in COSTS
                }
        except DataError:  # a killed job leaves it empty
            notes.append(f"{path} contains no whole record of what a job used")
    return found


def require_different(folders: Iterable[Path]) -> None:
    """Raise `DataError` if a folder appears twice, by whatever path."""
    seen: dict[Path, Path] = {}
    for folder in folders:
        if (first := seen.setdefault(folder.resolve(), folder)) is not folder:
            raise DataError(
                f"{folder} is the same folder as {first}; give the folders of two studies"
            )
