"""The data of a report: the two summary tables and the study's configuration."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

from editcore.config.collapse import CollapseSection
from editcore.config.study import StudyConfig
from editcore.errors import DataError
from editcore.records.schemas import CASES, VERDICTS
from editcore.records.tables import read_provenance, read_table
from editcore.requests import OK

# The section of a study that a table belongs to, if it is not the first part of the table's name.
SECTIONS = MappingProxyType({"correlation": "downstream", "weight_change": "downstream"})


@dataclass(frozen=True)
class ReportData:
    """The tables of `results/summary`, and the labels in the order of the config.

    `collapse` is the rule that judged them, as recorded in the verdicts.
    """

    folder: Path
    config: StudyConfig
    collapse: CollapseSection
    cases: pl.DataFrame
    verdicts: pl.DataFrame
    provenance: dict[str, Any]
    models: tuple[str, ...]
    editors: tuple[str, ...]
    datasets: tuple[str, ...]

    def made(self, **where: str | bool) -> pl.DataFrame:
        """The successful edits whose columns have the values in `where`, ordered by id."""
        conditions = [pl.col(name) == value for name, value in where.items()]
        return self.cases.filter(pl.col("status") == OK, *conditions)

    def table(self, name: str, schema: pa.Schema) -> pl.DataFrame | None:
        """A further table of the summary by its file's name without ending; None if missing.

        A table that another study left in the folder is not read: its section is not part of this
        study.
        """
        section = SECTIONS.get(name, name.partition("-")[0])
        if getattr(self.config, section, self) is None:
            return None
        path = self.folder / f"{name}.parquet"
        return read_table(path, schema) if path.exists() else None

    def threshold(self, base: float) -> float:
        """The perplexity above which a model has collapsed if `base` is the unedited one's."""
        return self.collapse.limit(base)

    def base(self, model: str) -> float | None:
        """The perplexity of the unedited model; None if it has no successful edit."""
        values = self.made(model=model)["perplexity_base"].drop_nulls().sort()
        return None if values.is_empty() else float(values[len(values) // 2])

    def groups(self) -> list[dict[str, Any]]:
        """The verdict rows, ordered as the config orders models, editors and data sets."""
        orders = (self.models, self.editors, self.datasets)
        rows = self.verdicts.to_dicts()
        columns = ("model", "editor", "dataset")
        return sorted(
            rows,
            key=lambda row: [o.index(row[c]) for o, c in zip(orders, columns, strict=True)],
        )


def read(summary_dir: Path, config: StudyConfig) -> ReportData:
    """Read `cases.parquet` and `verdicts.parquet`; raises `DataError` naming an unusable one."""
    cases = read_table(summary_dir / "cases.parquet", CASES)
    verdicts = read_table(summary_dir / "verdicts.parquet", VERDICTS)
    return ReportData(
        folder=summary_dir,
        config=config,
        collapse=_rule(verdicts),
        cases=cases,
        verdicts=verdicts,
        provenance=read_provenance(summary_dir / "verdicts.parquet"),
        models=_ordered(config.models, verdicts["model"]),
        editors=_ordered(config.editors, verdicts["editor"]),
        datasets=_ordered(config.datasets, verdicts["dataset"]),
    )


def _rule(verdicts: pl.DataFrame) -> CollapseSection:
    """The rule that judged all groups of a table of verdicts; `DataError` if it has none."""
    if verdicts.is_empty():
        raise DataError("verdicts.parquet has no rows; run `editcore summarise` to write it")
    columns = {name: f"collapse_{name}" for name in CollapseSection.model_fields}
    row = verdicts.row(0, named=True)
    return CollapseSection(**{name: row[column] for name, column in columns.items()})


def _ordered(configured: Iterable[str], found: Iterable[str]) -> tuple[str, ...]:
    """The labels that have results: first those of the config in its order, then others."""
    found = set(found)
    configured = [label for label in configured if label in found]
    return (*configured, *sorted(found - set(configured)))
