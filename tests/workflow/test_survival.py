"""Edited models are treated as a stage of its own, after single edits."""

from pathlib import Path

import polars as pl

from tests.workflow.conftest import StudyFolder


def test_a_study_says_what_treatments_leave_of_its_edits(
    study_folder: StudyFolder, tmp_path: Path
) -> None:
    folder = study_folder.copy(tmp_path)
    folder.configure(
        models={"gpt2": {"source": "models/gpt2"}},
        editors={
            "rome": {"options": {"layer": 1, "steps": 3}},
            "ft": {"options": {"layer": 1, "steps": 2}},
        },
        mechanism=None,
        forecasts=False,
        survival={"cases": 1, "steps": 2},
    )
    status, output = folder.snakemake()
    assert status == 0, output
    results = folder.path / "results"
    rows = pl.read_parquet(results / "survival" / "model=gpt2.parquet")
    assert set(rows["status"]) == {"ok"}, rows["status"].to_list()
    assert rows.height == 2 * 7, "one case of each editor, untreated and after six treatments"
    means = pl.read_parquet(results / "summary" / "survival.parquet")
    assert means["n_ok"].to_list() == [1] * 14
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "What is left of an edit" in page and "Edits of gpt2 lose " in page
    assert "Weights were rounded as GGUF Q4_0 and GGUF Q8_0 store them." in page
    assert (results / "figures" / "treated.svg").is_file()
    status, output = folder.snakemake("--dry-run")
    assert "Nothing to be done" in output, output
    folder.configure(
        models={"gpt2": {"source": "models/gpt2"}},
        mechanism=None,
        survival={"treatments": ["frozen"]},
    )
    status, output = folder.snakemake("--dry-run")
    assert status != 0
    assert "survival.treatments.0" in output and "'pruned'" in output
