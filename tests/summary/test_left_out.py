"""The test over several studies: models are told apart, and each is left out whole."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from editcore.cli import main
from editcore.collapse.backtest import FORECASTS, OTHERS
from editcore.collapse.forecast import load
from editcore.errors import DataError
from editcore.records.model_schemas import WARNING
from editcore.records.schemas import CASES, DOWNSTREAM
from editcore.records.tables import read_table, write_table
from editcore.summary.left_out.page import page
from editcore.summary.left_out.run import run
from refresh.warning import END, START
from refresh.warning import main as refresh_warning
from tests.rows import judged_rows, study_rows


def study(folder: Path, model: str, source: str, layer: int = 1, label: str = "") -> Path:
    """The results folder of a study of one of the synthetic models."""
    rows = judged_rows(study_rows()).filter(model=model)
    label = label or model
    rows = rows.with_columns(model=pl.lit(label))
    about = {
        "models": {label: {"source": source}},
        "editors": {"alpha": {"options": {"layer": layer}}, "beta": {"options": {}}},
    }
    write_table(folder / "summary" / "cases.parquet", rows, CASES, about)
    return folder


def test_each_model_is_left_out_and_the_others_are_fitted_on(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    found = run(folders)
    rows = found.left_out.filter(predictor=FORECASTS["collapsed"], target="collapsed").to_dicts()
    assert [(row["tested_on"], row["n"], row["n_calibrated"]) for row in rows] == [
        ("large", 200, 200),
        ("small", 200, 200),
    ]
    assert all(row["auc"] == row["recall"] == 1 for row in rows)
    assert found.sources == {"small": "owner/small", "large": "owner/large"}
    for name in ("large", "small"):
        assert f"| {name} " in page(found)


def test_one_model_at_two_layers_is_left_out_at_both(tmp_path: Path) -> None:
    folders = [
        study(tmp_path / "a", "small", "owner/small", 1, "model"),
        study(tmp_path / "b", "small", "owner/small", 5, "model"),
        study(tmp_path / "c", "large", "owner/large", 5, "other"),
    ]
    found = run(folders).left_out.filter(predictor=FORECASTS["collapsed"], target="collapsed")
    fitted = {row["tested_on"]: row["n_calibrated"] for row in found.to_dicts()}
    assert fitted == {"model, layer 1": 200, "model, layer 5": 200, "other": 400}


def test_one_model_alone_leaves_nothing_to_fit_on(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, "small", "owner/small", 1, name) for name in "ab"]
    with pytest.raises(DataError, match="edits of only one model"):
        run(folders)


def test_tables_of_the_version_before_are_read_and_changed_ones_are_not(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    path = folders[0] / "summary" / "cases.parquet"
    rows = pl.read_parquet(path).drop("grade", "key_match")
    old = CASES.remove(CASES.get_field_index("grade"))
    old = old.remove(old.get_field_index("key_match"))
    about = {"models": {"small": {"source": "owner/small"}}, "editors": {}}
    metadata = {**CASES.metadata, b"editcore.schema": b"cases/2"}
    write_table(path, rows, old.with_metadata(metadata), about)
    assert set(run(folders).left_out["tested_on"]) == {"small", "large"}
    write_table(path, rows, old.with_metadata({**metadata, b"editcore.schema": b"cases/1"}), about)
    with pytest.raises(DataError, match="cases/8 is needed"):
        run(folders)


def test_studies_without_the_predicted_change_give_no_calibration(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    found = run(folders)
    bare = replace(found, edits=found.edits.with_columns(sample_changed=pl.lit(None, pl.Float64)))
    with pytest.raises(DataError, match="harm cannot be predicted from 200 edits of large"):
        bare.save_calibration(tmp_path / "warning.json")
    assert not (tmp_path / "warning.json").exists()


def test_the_command_prints_the_table_and_writes_both_files(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    file, out = tmp_path / "warning.json", tmp_path / "out"
    arguments = ["backtest", *map(str, folders), "--calibration", str(file), "--out", str(out)]
    printed = CliRunner().invoke(main, [*arguments, "--json"], catch_exceptions=False).stdout
    rows = json.loads(printed)
    assert {row["tested_on"] for row in rows} == {"small", "large"}
    assert {row["calibrated_on"] for row in rows} == {OTHERS}
    assert len(read_table(out / "warning.parquet", WARNING)) > len(rows)
    made = load(file)
    assert made.models == {"small": "owner/small", "large": "owner/large"}
    assert made.edits == 400
    assert set(made.left_out) == {"small", "large"}
    assert made.forecast(1.0, 100.0, "owner/small").harm


def test_the_command_judges_damage_by_the_threshold_that_is_given(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]

    def harmed(*more: str) -> int:
        given = ["backtest", *map(str, folders), *more, "--json"]
        rows = json.loads(CliRunner().invoke(main, given, catch_exceptions=False).stdout)
        chosen = [r for r in rows if (r["target"], r["predictor"]) == ("harmed", "sample_changed")]
        return sum(row["n_hits"] for row in chosen)

    assert harmed("--damage", "0.08") == harmed()
    assert harmed("--damage", "0.99") < harmed()


def test_the_document_and_the_calibration_are_written_together(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    (tmp_path / "docs").mkdir()
    (tmp_path / "editcore" / "collapse").mkdir(parents=True)
    document = tmp_path / "docs" / "warning.md"
    document.write_text(f"before\n{START}\nstale\n{END}\nafter\n", encoding="utf-8")
    arguments = [*map(str, folders), "--root", str(tmp_path)]
    CliRunner().invoke(refresh_warning, arguments, catch_exceptions=False)
    text = document.read_text(encoding="utf-8")
    assert page(run(folders)) in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    assert load(tmp_path / "editcore" / "collapse" / "warning.json").edits == 400


def test_grades_are_compared_with_the_scores_of_studies_that_have_some(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    assert "Grades against task scores" not in page(run(folders))
    cases = run(folders).edits.filter(pl.col("model") == "large", pl.col("grade").is_not_null())
    keys = ("model", "editor", "dataset", "case_id", "grade", "perplexity")
    common = {"task": "words", "metric": "acc", "random": 0.25, "n_items": 9, "status": "ok"}
    common |= {"spread": False, "top": False}
    unedited = dict.fromkeys(keys[1:4]) | {"model": "large", "score": 0.9, "perplexity": 4.0}
    edited = [
        {name: row[name] for name in keys if name != "grade"}
        | {"score": 0.9 if row["grade"] == "sound" else 0.2}
        for row in cases.to_dicts()
    ]
    rows = [common | row for row in (unedited, *edited)]
    write_table(folders[1] / "summary" / "downstream.parquet", rows, DOWNSTREAM, {})
    found = run(folders)
    (row,) = found.grades
    harmed = len(cases.filter(pl.col("grade") != "sound"))
    assert (row["model"], row["n"]) == ("large", len(cases))
    assert row["harmed"] == row["fell"] == row["both"] == harmed > 0
    assert "Grades against task scores" in page(found)


def test_every_edit_of_a_left_out_model_is_in_one_interval_of_probability(tmp_path: Path) -> None:
    folders = [study(tmp_path / name, name, f"owner/{name}") for name in ("small", "large")]
    last = page(run(folders)).rpartition("what happened:")[2]
    counts = [int(line.split("|")[2]) for line in last.splitlines() if " to " in line]
    assert sum(counts) == 400
