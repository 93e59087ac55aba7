"""The summary counts edits that succeeded, and never averages over others."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from editcore.config.collapse import CollapseSection
from editcore.records.provenance import merged
from editcore.records.schemas import CASES, EDITS, VERDICTS
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.summary.edits import write_edits
from tests.rows import BASE, DAMAGED, edit_row, failed_row, study_rows

RULE = CollapseSection()


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    """The summary folder of a synthetic study of two shards."""
    rows = study_rows()
    shards = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for shard, torch, layer in ((0, "2.13", 1), (1, "2.12", 2)):
        origin = {"versions": {"torch": torch, "editcore": "1"}, "job": job(layer)}
        write_table(shards[shard], rows[shard::2], EDITS, origin)
    write_edits(shards, tmp_path / "summary", RULE)
    return tmp_path / "summary"


def job(layer: int) -> dict[str, Any]:
    """The parts of a job in a shard's provenance."""
    return {
        "model": {"name": "small"},
        "editor": {"label": "alpha", "options": {"layer": layer}},
        "dataset": {"name": "hard"},
    }


def verdict_of(rows: list[dict[str, Any]], path: Path) -> dict[str, Any]:
    write_table(path / "shard.parquet", rows, EDITS, {})
    write_edits([path / "shard.parquet"], path / "summary", RULE)
    return read_table(path / "summary" / "verdicts.parquet", VERDICTS).row(0, named=True)


def test_failed_rows_are_counted_by_reason_and_averaged_nowhere(tmp_path: Path) -> None:
    rows = [edit_row(1, 40.5, 0.5), edit_row(2, 4.0, 1.5), failed_row(3), failed_row(4, "no key")]
    verdict = verdict_of([*rows, failed_row(5)], tmp_path)
    assert (verdict["n"], verdict["n_ok"], verdict["n_collapsed"]) == (5, 2, 1)
    assert json.loads(verdict["failures"]) == {"no key": 1, "target too long": 2}
    assert verdict["perplexity_median"] == pytest.approx(22.25)
    assert verdict["denominator_median"] == pytest.approx(1.0)
    assert (verdict["efficacy_mean"], verdict["efficacy_n"]) == (0.5, 2)


def test_infinite_perplexity_is_the_maximum_and_moves_the_median_by_rank(tmp_path: Path) -> None:
    verdict = verdict_of([edit_row(1, math.inf), edit_row(2, 4.0), edit_row(3, 5.0)], tmp_path)
    assert verdict["perplexity_max"] == math.inf
    assert verdict["perplexity_median"] == 5.0
    assert (verdict["n_collapsed_perplexity"], verdict["n_nonfinite"]) == (1, 1)


def test_group_in_which_every_edit_failed_keeps_its_row(tmp_path: Path) -> None:
    verdict = verdict_of([failed_row(1), failed_row(2)], tmp_path)
    assert (verdict["n"], verdict["n_ok"], verdict["n_collapsed"]) == (2, 0, 0)
    assert verdict["perplexity_median"] is None
    assert (verdict["locality_mean"], verdict["locality_n"]) == (None, 0)


def test_a_damaged_edit_is_counted_unless_it_collapsed(tmp_path: Path) -> None:
    rows = [edit_row(1, 4000.0, top1_kept=DAMAGED), edit_row(2, top1_kept=DAMAGED), edit_row(3)]
    verdict = verdict_of([*rows, failed_row(4)], tmp_path)
    assert (verdict["n_collapsed"], verdict["n_damaged"]) == (1, 1)
    assert verdict["collapse_damage"] == RULE.damage
    assert verdict_of([failed_row(1)], tmp_path)["n_damaged"] == 0


def test_damaged_edits_are_not_counted_where_a_divergence_was_not_measured(tmp_path: Path) -> None:
    verdict = verdict_of([edit_row(1, top1_kept=DAMAGED), edit_row(2, top1_kept=None)], tmp_path)
    assert verdict["n_damaged"] is None


def test_editor_without_denominator_has_none_counted(tmp_path: Path) -> None:
    verdict = verdict_of([edit_row(1, denominator=None)], tmp_path)
    assert (verdict["denominator_n"], verdict["denominator_median"]) == (0, None)
    assert verdict["failures"] is None


def test_metrics_count_only_the_edits_they_were_measured_on(tmp_path: Path) -> None:
    rows = [edit_row(1, locality=1.0, fluency=3.0), edit_row(2, locality=None, fluency=None)]
    verdict = verdict_of(rows, tmp_path)
    assert (verdict["locality_mean"], verdict["locality_n"]) == (1.0, 1)
    assert (verdict["fluency_mean"], verdict["fluency_n"]) == (3.0, 1.0)


def test_tables_have_the_documented_columns_and_all_rows(summary: Path) -> None:
    cases = read_table(summary / "cases.parquet", CASES)
    table = read_table(summary / "verdicts.parquet", VERDICTS)
    assert len(cases) == len(study_rows())
    assert table.columns == VERDICTS.names
    assert table["n"].sum() == len(cases)
    assert table.select("model", "editor", "dataset").rows() == sorted(
        table.select("model", "editor", "dataset").rows()
    )


def test_verdicts_agree_with_a_plain_count(summary: Path) -> None:
    table = read_table(summary / "verdicts.parquet", VERDICTS)
    for row in table.iter_rows(named=True):
        group = [r for r in study_rows() if all(r[k] == row[k] for k in ("model", "editor"))]
        mine = [r for r in group if r["dataset"] == row["dataset"] and r["status"] == "ok"]
        assert row["n_ok"] == len(mine)
        assert row["n_collapsed"] == sum(r["perplexity"] > RULE.limit(BASE) for r in mine)
        assert row["seconds"] == pytest.approx(sum(r["seconds"] for r in mine))


def test_same_shards_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    for name, rows in (("a", study_rows()[:50]), ("b", study_rows()[50:])):
        write_table(tmp_path / f"{name}.parquet", rows, EDITS, {})
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    write_edits(paths, tmp_path / "one", RULE)
    write_edits(paths[::-1], tmp_path / "two", RULE)
    for name in ("cases.parquet", "verdicts.parquet"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_provenance_names_each_editor_once_and_merges_the_rest(summary: Path) -> None:
    provenance = read_provenance(summary / "verdicts.parquet")
    assert provenance["edits"] == {"versions": {"editcore": "1", "torch": ["2.12", "2.13"]}}
    assert provenance["editors"] == {"alpha": {"label": "alpha", "options": {"layer": [1, 2]}}}
    assert list(provenance["models"]) == ["small"] and list(provenance["datasets"]) == ["hard"]
    assert provenance["files"] == 2
    assert set(provenance["made_by"]) == {"editcore", "polars"}


def test_shards_made_with_two_states_of_an_artefact_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shards = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for case, shard in enumerate(shards):
        made_with = {"C": f"{case}", "prefixes": "same", f"values {case}": "own"}
        write_table(shard, [edit_row(case)], EDITS, {"artefacts": made_with})
    write_edits(shards[:1], tmp_path, RULE)
    assert not caplog.messages
    write_edits(shards, tmp_path, RULE)
    (said,) = caplog.messages
    assert said.startswith("the shards were made with different contents of C, which alone")
    found = read_provenance(tmp_path / "cases.parquet")["artefacts"]
    assert found == {"C": ["0", "1"], "prefixes": "same", "values 0": "own", "values 1": "own"}


def test_merged_descends_into_mappings() -> None:
    first, second = {"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}
    assert merged([first, second]) == {"a": {"x": 1, "y": [2, 3]}}
