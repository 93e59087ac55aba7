"""Sequential edits run as a stage of their own, after single edits."""

from pathlib import Path

import polars as pl

from tests.workflow.conftest import MODELS, StudyFolder


def test_sequences_are_added_to_a_finished_study(finished: StudyFolder, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path)
    before = folder.files("edits")
    folder.configure(
        sequences={"editors": ["rome"], "every": 1, "checks": [1], "tasks": ["world_cloze"]}
    )
    status, output = folder.snakemake()
    assert status == 0, output
    assert folder.files("edits") == before, "no shard ran again"
    rows = pl.read_parquet(folder.path / "results" / "summary" / "sequences.parquet")
    assert rows.height == len(MODELS) * (1 + 2)
    assert set(rows["status"]) <= {"ok", "stopped"}
    assert rows.filter(pl.col("edits") == 1)["efficacy_so_far"].null_count() == 0
    asked = rows.filter(pl.col("score_world_cloze").is_not_null())
    assert asked.height >= len(MODELS) and asked.filter(pl.col("step") == 0).height == len(MODELS)
    page = (folder.path / "results" / "report.html").read_text(encoding="utf-8")
    assert 'id="sequences"' in page
    assert (folder.path / "results" / "figures" / "sequences.svg").is_file()


def test_the_same_facts_are_edited_with_each_number_per_step(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(
        models={"gpt2": {"source": "models/gpt2"}},
        editors={"memit": {"options": {"layers": [1], "steps": 2}}},
        mechanism=None,
        forecasts=False,
        sequences={
            "edits": 2,
            "every": 2,
            "closely": 1,
            "checks": [2],
            "batch": [1, 2],
            "arrangements": ["drawn", "dispersed"],
            "telemetry": ["key_drift", "row_energy"],
            "stop_before": "collapse",
            "tasks": [],
        },
    )
    status, output = folder.snakemake()
    assert status == 0, output
    rows = pl.read_parquet(folder.path / "results" / "summary" / "sequences.parquet")
    ends = rows.group_by("batch", "arrangement").agg(pl.col("edits").max(), pl.col("step").max())
    assert ends.sort("batch", "arrangement").rows() == [
        (1, "dispersed", 2, 2),
        (1, "drawn", 2, 2),
        (2, "dispersed", 2, 1),
        (2, "drawn", 2, 1),
    ]
    assert rows.filter(pl.col("step") > 0)["key_drift"].null_count() == 0
    page = (folder.path / "results" / "report.html").read_text(encoding="utf-8")
    assert "2 per step, dispersed" in page
    cases = pl.read_parquet(folder.path / "results" / "summary" / "cases.parquet")
    assert cases["sample_changed"].is_null().all(), "forecasts: false"
    assert cases["top1_kept"].null_count() == 0
