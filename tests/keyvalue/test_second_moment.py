"""C is the mean of k kᵀ over tokens, whatever the batches, and solves like its inverse."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from editcore.errors import DataError
from editcore.keyvalue import second_moment
from editcore.keyvalue.estimation import moment_accumulator
from editcore.keyvalue.estimation.moment_accumulator import MomentCheckpoint
from editcore.models import hooks
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import ModelSpec, MomentJob, TextSpec
from editcore.records import provenance
from editcore.runs import artefacts
from editcore.testing.models import SENTENCES, tiny_model


def keys_one_by_one(model, layer: int) -> torch.Tensor:
    found = []
    for text in SENTENCES:
        ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad(), hooks.recording(model.parts.down(layer)) as seen:
            model.model(ids)
        found.append(seen.input[0].double())
    return torch.cat(found)


@pytest.fixture
def model() -> LoadedModel:
    return wrap_model("gpt2", *tiny_model("gpt2"))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several batches in several windows, also for few texts."""
    monkeypatch.setattr(moment_accumulator, "BATCH_TOKENS", 40)
    monkeypatch.setattr(moment_accumulator, "WINDOW_TOKENS", 50)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_streamed_equals_direct(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    keys = keys_one_by_one(model, 1)
    direct = keys.T @ keys / len(keys)
    for batch_tokens, window_tokens in ((64, 1), (64, 100), (8192, 10**6)):
        monkeypatch.setattr(moment_accumulator, "BATCH_TOKENS", batch_tokens)
        monkeypatch.setattr(moment_accumulator, "WINDOW_TOKENS", window_tokens)
        measured = moment_accumulator.measure_moments(model, [1], SENTENCES, 10**9)[1]
        assert measured.tokens == len(keys)
        torch.testing.assert_close(measured.matrix, direct, rtol=1e-4, atol=1e-6)


def test_the_budget_is_kept_to_the_token(model: LoadedModel, small_batches: None) -> None:
    keys = keys_one_by_one(model, 0)[:70]
    measured = moment_accumulator.measure_moments(model, [0], SENTENCES, 70)[0]
    assert measured.tokens == 70
    torch.testing.assert_close(measured.matrix, keys.T @ keys / 70, rtol=1e-4, atol=1e-6)


def test_layers_together_equal_each_alone(model: LoadedModel, small_batches: None) -> None:
    together = moment_accumulator.measure_moments(model, [2, 0, 1], SENTENCES, 120)
    assert sorted(together) == [0, 1, 2]
    for layer, moment in together.items():
        alone = moment_accumulator.measure_moments(model, [layer], SENTENCES, 120)[layer]
        assert torch.equal(moment.matrix, alone.matrix)


def test_no_block_after_the_deepest_layer_runs(model: LoadedModel) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("this block is not needed")

    model.parts.block(2).register_forward_pre_hook(refuse)
    assert sorted(moment_accumulator.measure_moments(model, [0, 1], SENTENCES, 120)) == [0, 1]


def test_the_deepest_down_projection_does_not_run(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("its output is not needed")

    monkeypatch.setattr(model.parts.down(1), "forward", refuse)
    assert sorted(moment_accumulator.measure_moments(model, [0, 1], SENTENCES, 120)) == [0, 1]


def test_sums_in_single_precision_solve_like_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment_accumulator, "PRODUCT_TOKENS", 64)
    scales = torch.logspace(0, -3, 23)
    keys = torch.randn(1000, 23, generator=torch.Generator().manual_seed(0)) * scales
    sums = moment_accumulator.MomentSums()
    sums.add({0: keys[:700]})
    sums.add({0: keys[700:]})
    exact = keys.double().T @ keys.double() / 1000
    assert torch.equal(sums.mean(0), sums.mean(0).T)
    solved, expected = (
        second_moment.SecondMoment.from_matrix(0, matrix, 1000).solve(keys[:50])
        for matrix in (sums.mean(0), exact)
    )
    assert (1 - torch.cosine_similarity(solved, expected)).max() < 1e-9


def test_texts_longer_than_the_model_are_cut(model: LoadedModel) -> None:
    assert (
        moment_accumulator.measure_moments(model, [0], ["the sea " * 1000], 10**6)[0].tokens == 256
    )


def test_no_texts_are_an_error(model: LoadedModel) -> None:
    with pytest.raises(DataError, match="no texts"):
        moment_accumulator.measure_moments(model, [0], [""], 10)


class Killed(Exception):
    """Raised in place of whatever interrupts a run."""


def sentences_until_killed() -> Iterator[str]:
    yield from SENTENCES[:6]
    raise Killed


@pytest.fixture
def interrupted(model: LoadedModel, small_batches: None, tmp_path: Path) -> MomentCheckpoint:
    """What a measurement of two layers leaves that was killed after its first batches."""
    checkpoint = MomentCheckpoint(tmp_path / "sums.safetensors", "this job", seconds=0)
    with pytest.raises(Killed):
        moment_accumulator.measure_moments(
            model, [0, 2], sentences_until_killed(), 10**6, checkpoint
        )
    assert checkpoint.path.exists()
    return checkpoint


def rows_run(model: LoadedModel) -> list[int]:
    """Fills with the number of rows of each batch that the model runs from now on."""
    seen: list[int] = []
    model.parts.block(0).register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    return seen


def test_a_killed_measurement_continues_to_the_same_bytes(
    model: LoadedModel, interrupted: MomentCheckpoint
) -> None:
    seen = rows_run(model)
    whole = moment_accumulator.measure_moments(model, [0, 2], SENTENCES, 10**6)
    needed = len(seen)
    resumed = moment_accumulator.measure_moments(model, [0, 2], SENTENCES, 10**6, interrupted)
    assert 0 < len(seen) - needed < needed
    for layer in (0, 2):
        assert resumed[layer].tokens == whole[layer].tokens
        assert torch.equal(resumed[layer].matrix, whole[layer].matrix)


def test_a_checkpoint_of_something_else_is_left_alone(
    model: LoadedModel, interrupted: MomentCheckpoint
) -> None:
    seen = rows_run(model)
    whole = moment_accumulator.measure_moments(model, [0, 2], SENTENCES, 10**6)
    needed = len(seen)
    other = MomentCheckpoint(interrupted.path, "another job", seconds=1000)
    again = moment_accumulator.measure_moments(model, [0, 2], SENTENCES, 10**6, other)
    assert len(seen) == 2 * needed
    assert torch.equal(again[2].matrix, whole[2].matrix)


@pytest.mark.parametrize("kept", [0, 5, 300, -8])
def test_a_truncated_checkpoint_is_left_alone_with_a_warning(
    model: LoadedModel, interrupted: MomentCheckpoint, kept: int
) -> None:
    interrupted.path.write_bytes(interrupted.path.read_bytes()[:kept])
    with pytest.warns(UserWarning, match=r"sums\.safetensors cannot be resumed from"):
        again = moment_accumulator.measure_moments(model, [0, 2], SENTENCES, 10**6, interrupted)
    whole = moment_accumulator.measure_moments(model, [0, 2], SENTENCES, 10**6)
    assert torch.equal(again[0].matrix, whole[0].matrix)


def test_solve_is_the_inverse() -> None:
    samples = torch.randn(50, 8, dtype=torch.float64)
    matrix = samples.T @ samples / 50
    moment = second_moment.SecondMoment.from_matrix(0, matrix, 50)
    keys = torch.randn(3, 8)
    torch.testing.assert_close(moment.solve(keys), keys.double() @ torch.linalg.inv(matrix))


def test_fewer_tokens_than_dimensions_gets_a_ridge_or_an_error() -> None:
    key = torch.randn(1, 5, dtype=torch.float64)
    few = second_moment.SecondMoment.from_matrix(0, key.T @ key, 1)
    assert few.solve(key[0]).isfinite().all()
    with pytest.raises(DataError, match="more tokens"):
        second_moment.SecondMoment.from_matrix(3, -torch.eye(5), 1)


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    samples = torch.randn(50, 8)
    moment = second_moment.SecondMoment.from_matrix(2, samples.T @ samples / 50, 50)
    second_moment.save(moment, tmp_path / "c.safetensors", {"job": "x"})
    again = second_moment.load(tmp_path / "c.safetensors")
    assert (again.layer, again.tokens) == (2, 50)
    assert torch.equal(again.factor, moment.factor)
    with pytest.raises(DataError, match="absent"):
        second_moment.load(tmp_path / "absent.safetensors")


def test_moments_of_another_width_are_refused(model: LoadedModel, tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    for width, fits in ((64, True), (48, False)):
        samples = torch.randn(100, width)
        second_moment.save(
            second_moment.SecondMoment.from_matrix(1, samples.T @ samples / 100, 100), path, {}
        )
        if fits:
            assert second_moment.load_for(model, 1, path).tokens == 100
    with pytest.raises(DataError, match=r"c\.safetensors is for keys with 48 numbers.*have 64"):
        second_moment.load_for(model, 1, path)


@pytest.fixture
def job(saved_model: Callable[..., Path], tmp_path: Path) -> MomentJob:
    """Two layers of a model in a folder, from all sentences."""
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(SENTENCES), encoding="utf-8")
    model = ModelSpec(name="tiny", source=str(saved_model("gpt2")))
    return MomentJob(model=model, layers=(0, 2), texts=TextSpec(path=str(texts), tokens=120))


def test_a_job_writes_a_file_per_layer_that_records_how_it_was_made(
    job: MomentJob, tmp_path: Path
) -> None:
    folder = tmp_path / "moments-1a2b3c4d"
    artefacts.write_moments(job, folder)
    assert sorted(file.name for file in folder.iterdir()) == [
        "layer-0.safetensors",
        "layer-2.safetensors",
    ]
    assert [file.name for file in tmp_path.iterdir() if "checkpoint" in file.name] == []
    about = provenance.read(folder / "layer-2.safetensors")
    assert (about["layer"], about["tokens"]) == (2, 120)
    assert about["job"] == job.model_dump(mode="json")
    assert about["made_from"] == job.source(2)
    assert about["versions"]["torch"] == torch.__version__


def test_a_killed_job_leaves_a_checkpoint_next_to_its_folder(
    job: MomentJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(second_moment.SecondMoment, "from_matrix", kill)
    with pytest.raises(Killed):
        artefacts.write_moments(job, tmp_path / "moments-1a2b3c4d", seconds=0)
    assert (tmp_path / "moments-1a2b3c4d.checkpoint.safetensors").exists()
    assert not (tmp_path / "moments-1a2b3c4d").exists()
    monkeypatch.undo()
    artefacts.write_moments(job, tmp_path / "moments-1a2b3c4d")
    assert not (tmp_path / "moments-1a2b3c4d.checkpoint.safetensors").exists()
    assert second_moment.load(tmp_path / "moments-1a2b3c4d" / "layer-0.safetensors").tokens == 120
