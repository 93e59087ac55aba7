"""What is left of edits after each treatment: means over the edited models, with intervals."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from editcore.collapse.verdict import COLLAPSED, DAMAGED, judged
from editcore.config.collapse import CollapseSection
from editcore.config.stages import UNTREATED
from editcore.errors import DataError
from editcore.planning.stages.jobs import SurvivalJob
from editcore.records import planned
from editcore.records.model_schemas import LEFT, SURVIVAL, SURVIVAL_MEANS
from editcore.records.provenance import made_by, merged
from editcore.records.schemas import CASE_KEYS
from editcore.records.tables import (
    NO_JOBS,
    Row,
    read_edits,
    read_provenance,
    read_table,
    write_table,
)
from editcore.requests import OK
from editcore.summary.mechanism.prompting import wilson

GROUP = ("model", "editor", "dataset", "treatment")


def treated(edits: pl.DataFrame, cases: int) -> pl.DataFrame:
    """The edits whose models are treated: `cases` of each editor and data set, evenly spread.

    Failed edits are left out.
    """
    made = edits.filter(pl.col("status") == OK).sort(CASE_KEYS)
    groups = made.partition_by("model", "editor", "dataset", maintain_order=True)
    chosen = [group[_evenly(len(group), cases)] for group in groups]
    return pl.concat(chosen) if chosen else made


def _evenly(count: int, limit: int) -> list[int]:
    """At most `limit` places of `count`, spread evenly.

    >>> _evenly(10, 4), _evenly(2, 4)
    ([0, 2, 5, 7], [0, 1])
    """
    chosen = min(count, limit)
    return [i * count // chosen for i in range(chosen)]


def means(rows: pl.DataFrame, rule: CollapseSection) -> list[Row]:
    """A row per model, editor, data set and treatment, ordered by these.

    Treated edited models are graded against the unedited model after the same treatment.
    Intervals are Wilson's for a share; shares of tokens count as parts of a hit.
    """
    groups = _judged(rows, rule).sort(GROUP).partition_by(GROUP, maintain_order=True, as_dict=True)
    found: list[Row] = []
    for keys, group in groups.items():
        made = group.filter(pl.col("status") == OK)
        failed = Counter(group.filter(pl.col("status") != OK)["status"])
        row: dict[str, Any] = dict(zip(GROUP, keys, strict=True))
        row |= {"rounded_as": group["rounded_as"][0], "n": len(group), "n_ok": len(made)}
        row["failures"] = json.dumps(failed, sort_keys=True) if failed else None
        for name in LEFT:
            row |= _mean(name, made)
        row["perplexity_ratio_median"] = made["perplexity_ratio"].median()
        row |= {f"n_{grade}": (made["grade"] == grade).sum() for grade in (DAMAGED, COLLAPSED)}
        found.append(row)
    return found


def _judged(rows: pl.DataFrame, rule: CollapseSection) -> pl.DataFrame:
    return judged(rows.rename({"perplexity_unedited": "perplexity_base"}), rule)


def _mean(name: str, made: pl.DataFrame) -> Row:
    values = made[name].drop_nulls()
    if values.is_empty():
        return {f"{name}_n": 0}
    low, high = wilson(float(values.sum()), len(values))
    return {
        f"{name}_mean": float(values.sum()) / len(values),
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_n": len(values),
        f"{name}_unedited_mean": made[f"{name}_unedited"].mean(),
    }


def write_survival(
    files: Sequence[Path],
    out_dir: Path,
    rule: CollapseSection,
    jobs: Mapping[Path, SurvivalJob] = NO_JOBS,
) -> None:
    """Write `survival.parquet` from the tables of all models; `rule` grades the treated models.

    Raises `DataError` for a file of another kind, or without a treated model of its job in `jobs`.
    """
    if not files:
        raise DataError("no tables of treated models were given; run `editcore survive` first")
    tables = {path: read_table(path, SURVIVAL) for path in files}
    made = [read_provenance(path) for path in files]
    for path, job in jobs.items():
        _require_planned(path, tables[path], job)
    provenance = {"made_by": made_by(), "survival": merged(made)}
    found = means(pl.concat(tables.values()), rule)
    write_table(out_dir / "survival.parquet", found, SURVIVAL_MEANS, provenance)


def _require_planned(path: Path, rows: pl.DataFrame, job: SurvivalJob) -> None:
    """Raise `DataError` unless each chosen edit has every treatment."""
    edits = read_edits([Path(shard.rows) for shard in job.edits])
    chosen = treated(edits, job.cases).select("editor", "dataset", "case_id").rows()
    wanted = [_named((*e, treatment)) for e in chosen for treatment in (UNTREATED, *job.treatments)]
    found = rows.select("editor", "dataset", "case_id", "treatment").rows()
    planned.require(path, wanted, map(_named, found))


def _named(row: tuple[Any, ...]) -> str:
    editor, dataset, case, treatment = row
    return f"case {case} of {editor}, {dataset}, {treatment}"
