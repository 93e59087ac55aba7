"""Treated edited models are measured from the files that their shards left."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from editcore.config.collapse import CollapseSection
from editcore.config.stages import TREATMENTS
from editcore.errors import DataError
from editcore.planning.jobs import EditJob
from editcore.planning.stages.jobs import EditedFacts, SurvivalJob, TuningSpec
from editcore.records.model_schemas import SURVIVAL, SURVIVAL_MEANS
from editcore.records.schemas import EDITS
from editcore.records.tables import read_table, write_table
from editcore.runs import edit
from editcore.runs.finished import survival
from editcore.summary.mechanism.prompting import wilson
from editcore.summary.survival import treated, write_survival
from editcore.updates.delta import Delta, DenseUpdate, load_deltas, save_deltas
from tests.rows import edit_row
from tests.runs.conftest import WEIGHT, Script, Sound

RULE = CollapseSection()
COLUMNS = ("efficacy", "generalization", "efficacy_score")


@pytest.fixture
def planned(script: Script, job: EditJob, tmp_path: Path) -> SurvivalJob:
    """Three edits that are done, to be treated in every way."""
    script(Sound)
    rows, deltas = tmp_path / "shard-000.parquet", tmp_path / "shard-000.safetensors"
    edit.run(job, rows, deltas)
    return SurvivalJob(
        model=job.model,
        edits=(EditedFacts(rows=str(rows), deltas=str(deltas), dataset=job.dataset),),
        treatments=TREATMENTS,
        cases=5,
        pruned_share=0.5,
        tuning=TuningSpec(path=job.perplexity.path, skipped=4, steps=3, learning_rate=0.01),
        seed=0,
        perplexity=job.perplexity,
    )


def measured(job: SurvivalJob, tmp_path: Path) -> pl.DataFrame:
    """The rows that the job writes."""
    out = tmp_path / "survival" / "model=tiny.parquet"
    survival.run(job, out)
    return read_table(out, SURVIVAL)


def test_every_edit_has_a_row_per_treatment_and_untreated_is_as_edited(
    planned: SurvivalJob, tmp_path: Path
) -> None:
    found = measured(planned, tmp_path)
    assert found.select("case_id", "treatment", "status").rows() == [
        (case, treatment, "ok")
        for case in range(3)
        for treatment in sorted(("untreated", *TREATMENTS))
    ]
    edits = read_table(Path(planned.edits[0].rows), EDITS)
    untreated = found.filter(treatment="untreated")
    assert untreated.select(COLUMNS).equals(edits.select(COLUMNS))
    torch.testing.assert_close(
        untreated["perplexity_ratio"].to_torch(), edits["perplexity_ratio"].to_torch(), rtol=1e-5,
        atol=0,
    )  # fmt: skip
    assert untreated["top1_kept"].to_list() == edits["top1_kept"].to_list()
    # Each treatment has one unedited model. An adapter's is that of its bits; no others are equal.
    bases = found.group_by("treatment").agg(pl.col("perplexity_unedited").unique())
    of = {treatment: base for treatment, (base,) in bases.rows()}
    assert of["8-bit-adapter"] == of["8-bit"] and of["4-bit-adapter"] == of["4-bit"]
    assert len({*of.values()}) == 5
    assert measured(planned, tmp_path).equals(found)


def test_an_edit_that_cannot_be_treated_has_its_reason_and_the_others_their_numbers(
    planned: SurvivalJob, tmp_path: Path
) -> None:
    file = Path(planned.edits[0].deltas)
    deltas = load_deltas(file)
    broken = torch.full_like(deltas[1].updates[WEIGHT].dense(), 1e38)
    save_deltas(deltas | {1: Delta({WEIGHT: DenseUpdate(broken)})}, file, {})
    found = measured(planned, tmp_path)
    tuned = found.filter(treatment="fine-tuned")
    assert tuned["status"][0] == tuned["status"][2] == "ok"
    assert "not finite; choose a smaller survival.learning_rate" in tuned["status"][1]
    assert tuned["efficacy"].null_count() == tuned["perplexity_unedited"].null_count() == 1
    rounded = found.filter(treatment="8-bit")
    assert rounded["perplexity"].is_infinite().to_list() == [False, True, False]


def test_means_are_over_edits_with_intervals_and_missing_ones_are_named(
    planned: SurvivalJob, tmp_path: Path
) -> None:
    found = measured(planned, tmp_path)
    out = tmp_path / "survival" / "model=tiny.parquet"
    write_survival([out], tmp_path, RULE, {out: planned})
    means = read_table(tmp_path / "survival.parquet", SURVIVAL_MEANS)
    assert means["treatment"].to_list() == sorted(("untreated", *TREATMENTS))
    for row in means.iter_rows(named=True):
        of_it = found.filter(treatment=row["treatment"])
        assert (row["n"], row["n_ok"], row["failures"]) == (3, 3, None)
        assert row["efficacy_mean"] == pytest.approx(of_it["efficacy"].mean())
        assert (row["efficacy_low"], row["efficacy_high"]) == wilson(of_it["efficacy"].sum(), 3)
        assert row["generalization_n"] == of_it["generalization"].count()
        assert row["perplexity_ratio_median"] == of_it["perplexity_ratio"].median()
    write_table(out, found.filter(pl.col("treatment") != "pruned"), SURVIVAL, {})
    with pytest.raises(DataError, match="missing: case 0 of mine, cases, pruned"):
        write_survival([out], tmp_path, RULE, {out: planned})
    with pytest.raises(DataError, match="run `editcore survive` first"):
        write_survival([], tmp_path, RULE)


def test_treated_models_are_graded_against_the_treated_unedited_model(
    planned: SurvivalJob, tmp_path: Path
) -> None:
    found = measured(planned, tmp_path).with_columns(
        perplexity=pl.when(case_id=0).then(1e9).otherwise("perplexity_unedited"),
        top1_kept=pl.when(case_id=1).then(1.0).otherwise(0.5),
    )
    out = tmp_path / "changed.parquet"
    write_table(out, found, SURVIVAL, {})
    write_survival([out], tmp_path, RULE)
    means = read_table(tmp_path / "survival.parquet", SURVIVAL_MEANS)
    assert set(means.select("n_damaged", "n_collapsed").rows()) == {(1, 1)}


def test_chosen_edits_succeeded_and_are_spread_over_each_editor_and_data_set() -> None:
    def rows(count: int, **group: Any) -> list[dict[str, Any]]:
        failed = {"status": "too long"}
        return [edit_row(i, **group) | (failed if i == 0 else {}) for i in range(count)]

    edits = pl.DataFrame(rows(9) + rows(3, editor="beta") + rows(1, dataset="normal"))
    found = treated(edits, 4).select("editor", "dataset", "case_id").rows()
    assert found == [
        *(("alpha", "hard", case) for case in (1, 3, 5, 7)),
        *(("beta", "hard", case) for case in (1, 2)),
    ]
    assert treated(edits.filter(status="too long"), 4).is_empty()
