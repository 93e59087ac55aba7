# ruff: noqa: F401, F811  `job` is a fixture of that file
"""What is measured of a model while a sequence edits it: definitions, order of facts, and kills."""

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from editcore.config.telemetry import NAMES
from editcore.models.loading import load_model
from editcore.planning.jobs import EditorSpec, SequenceJob
from editcore.runs.sequence.arrangement import clustered, dispersed
from editcore.runs.sequence.telemetry.keys import FactKeys
from editcore.runs.sequence.telemetry.matrices import Unedited, condition, largest, row_energy
from editcore.runs.sequence.telemetry.text import n_gram_entropy
from editcore.updates import cumulative_delta
from tests.runs.test_sequence import CLOCK, OPTIONS, job, run
from tests.sequence_steps import end_before

LORA = {"layers": [0, 1], "steps": 2}


def measuring(job: SequenceJob, *names: str, **changes: Any) -> SequenceJob:
    return job.model_copy(update={"telemetry": names or NAMES, **changes})


def test_of_a_matrix() -> None:
    diagonal = torch.diag(torch.tensor([4.0, 2.0, 1.0]))
    assert (largest(diagonal), condition(diagonal)) == (4.0, 4.0)
    # Three orthogonal rows are √2 apart, whatever their length.
    assert row_energy(diagonal) == pytest.approx(3 / math.sqrt(2))
    same = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    assert row_energy(same) == pytest.approx(1000, rel=1e-3)


def test_relative_to_the_unedited_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    before, delta = (torch.randn(5, 7, generator=generator) for _ in range(2))
    inputs = torch.randn(40, 7, generator=generator)
    unedited, now = Unedited(before), before + delta
    assert unedited.ratio("weight_growth", 3 * before) == pytest.approx(3)
    assert unedited.ratio("condition_number", 3 * before) == pytest.approx(1, rel=1e-5)
    assert unedited.change(now) == pytest.approx(float(delta.norm() / before.norm()), rel=1e-5)
    moment = inputs.T @ inputs
    traces = [torch.trace(w @ moment @ w.T) for w in (delta, before)]
    assert unedited.change_on(inputs, now) == pytest.approx(
        math.sqrt(traces[0] / traces[1]), rel=1e-5
    )


def test_of_keys() -> None:
    keys = torch.tensor([[3.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    facts = FactKeys(keys, keys.clone())
    assert facts.cosine() == pytest.approx(math.sqrt(0.5))
    assert FactKeys(keys[:1], keys[:1]).cosine() == 0
    assert FactKeys(torch.eye(4), torch.eye(4)).rank() == pytest.approx(4)
    assert FactKeys(torch.ones(9, 4), torch.ones(9, 4)).rank() == pytest.approx(1, abs=1e-3)
    assert facts.drift(torch.eye(2)) == 0
    assert facts.drift(3 * torch.eye(2)) == pytest.approx(2)
    assert facts.recent_size(relative_to=1.0) == pytest.approx((5 + math.sqrt(2)) / 3)


def test_entropy_of_repetition_is_lower() -> None:
    assert n_gram_entropy([5] * 40) == 0
    assert n_gram_entropy([1, 2] * 20) < n_gram_entropy(list(range(40)))
    assert n_gram_entropy([1]) == 0


def test_orders_by_similarity() -> None:
    angles = torch.tensor([0.0, 90.0, 5.0, 96.0, 50.0]) * math.pi / 180
    units = torch.stack([angles.cos(), angles.sin()], 1)
    assert clustered(units) == [0, 2, 4, 1, 3]
    assert dispersed(units) == [0, 3, 4, 1, 2]


@pytest.mark.parametrize("editor", ["rome", "ft", "lora"])
def test_every_quantity_is_measured(job: SequenceJob, editor: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "lora": LORA}[editor]
    spec = EditorSpec(label=editor, uses=editor, options=options)
    rows = run(measuring(job, editor=spec), tmp_path)
    assert rows.select(NAMES)[0].null_count().row(0) == (1,) * len(NAMES)  # before any edit
    assert rows.select(NAMES)[1:].null_count().row(0) == (0,) * len(NAMES)
    # The last fact's own output has not drifted, and those of the others have.
    assert rows["key_drift"][1] < 1e-6 < rows["key_drift"][6]


def test_telemetry_agrees_with_the_weights(job: SequenceJob, tmp_path: Path) -> None:
    rows = run(measuring(job, every=6), tmp_path)
    assert rows["weight_growth"].null_count() == 6
    model = load_model("tiny", job.model.source)
    name = model.parts.down_weight(1)
    before = model.model.get_parameter(name).detach().clone()
    with cumulative_delta.applied(tmp_path / "all.safetensors", model):
        now = model.model.get_parameter(name).detach().clone()
    last = rows.row(-1, named=True)
    assert last["weight_growth"] == pytest.approx(float(now.norm() / before.norm()), rel=1e-5)
    assert last["weight_change"] == pytest.approx(
        last["accumulated_norm"] / float(before.norm()), rel=1e-5
    )
    sigma = [float(torch.linalg.matrix_norm(w, 2)) for w in (now, before)]
    assert last["top_singular_value"] == pytest.approx(sigma[0] / sigma[1], rel=1e-4)


def test_a_sequence_is_the_same_with_telemetry(job: SequenceJob, tmp_path: Path) -> None:
    plain, measured = run(job, tmp_path / "a"), run(measuring(job), tmp_path / "b")
    others = [name for name in plain.columns if name not in (*NAMES, *CLOCK)]
    assert plain.select(others).equals(measured.select(others))


def test_only_what_is_asked_for(job: SequenceJob, tmp_path: Path) -> None:
    rows = run(measuring(job, "key_rank"), tmp_path)
    others = [name for name in NAMES if name != "key_rank"]
    assert rows["key_rank"].drop_nulls().len() == 6
    assert all(rows[name].null_count() == 7 for name in others)


def test_a_killed_sequence_resumes_with_its_keys(
    job: SequenceJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = run(measuring(job), tmp_path / "whole").drop(CLOCK)
    with monkeypatch.context() as patched:
        end_before(patched, 5)
        with pytest.raises(KeyboardInterrupt):
            run(measuring(job), tmp_path / "killed")
    assert run(measuring(job), tmp_path / "killed").drop(CLOCK).equals(wanted)


def test_facts_survive_one_by_one(job: SequenceJob, tmp_path: Path) -> None:
    rows = run(job, tmp_path)
    asked = rows.filter(pl.col("efficacy_by_fact").is_not_null())
    assert asked["step"].to_list() == [3, 6]
    for row in asked.to_dicts():
        efficacies = json.loads(row["efficacy_by_fact"])
        assert len(efficacies) == row["edits"]
        mean = sum(efficacies) / row["edits"]
        assert mean == pytest.approx(row["efficacy_so_far"], rel=1e-6)


@pytest.mark.parametrize("arrangement", ["clustered", "dispersed"])
def test_arranged_facts_are_the_same_facts(
    job: SequenceJob, arrangement: str, tmp_path: Path
) -> None:
    arranged = job.model_copy(update={"arrangement": arrangement})
    assert arranged.key.order == f"0-{arrangement}"
    rows = run(arranged, tmp_path)
    assert rows["arrangement"].unique().to_list() == [arrangement]
    assert rows["case_id"][1] == job.case_ids[0]
    assert sorted(rows["case_id"][1:]) == sorted(job.case_ids)
    assert rows["case_id"][1:].to_list() != list(job.case_ids)
