"""Estimation of C ends once C⁻¹k no longer moves, wherever batches end, and tells that it did."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from editcore.keyvalue.estimation import moment_accumulator, movement
from editcore.keyvalue.estimation.moment_accumulator import (
    MomentCheckpoint,
    MomentSums,
    measure_moments,
)
from editcore.keyvalue.estimation.movement import Movement
from editcore.keyvalue.second_moment import SecondMoment
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import ModelSpec, MomentJob, TextJob, TextSpec
from editcore.records import provenance
from editcore.runs import artefacts
from editcore.testing.models import SENTENCES, tiny_model

WIDTH = 64  # of the tiny model's keys
# The same sentences again and again: C changes less and less.
TEXTS = SENTENCES[:5] + SENTENCES * 12
ALL = 10**6


@pytest.fixture
def model() -> LoadedModel:
    return wrap_model("gpt2", *tiny_model("gpt2"))


def counted(model: LoadedModel) -> int:
    return sum(len(model.tokenizer(text)["input_ids"]) for text in TEXTS)


def test_it_stops_and_says_so(model: LoadedModel) -> None:
    told: list[str] = []
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for text in TEXTS:
            taken.append(text)
            yield text

    found = measure_moments(model, [0, 1], texts(), ALL, None, 0.5, told.append)
    assert {moment.tokens for moment in found.values()} == {found[0].tokens}
    assert found[0].tokens < counted(model) / 2
    assert len(taken) < len(TEXTS), "no more texts are asked for than are read"
    (line,) = told
    assert line.startswith(f"stopped after {found[0].tokens:,} of 1,000,000 tokens: C⁻¹k moved by ")
    assert line.endswith(", less than 0.5")
    same = measure_moments(model, [0, 1], TEXTS, found[0].tokens)
    for layer in (0, 1):
        torch.testing.assert_close(found[layer].matrix, same[layer].matrix, rtol=1e-4, atol=1e-7)


def test_without_a_tolerance_or_below_none_all_tokens_are_read(model: LoadedModel) -> None:
    told: list[str] = []
    assert measure_moments(model, [1], TEXTS, ALL, say=told.append)[1].tokens == counted(model)
    assert told == []
    strict = measure_moments(model, [1], TEXTS, ALL, None, 1e-15, told.append)
    assert strict[1].tokens == counted(model)
    assert told[0].startswith("read all tokens: at ")
    few = measure_moments(model, [1], TEXTS, 2 * WIDTH, None, 0.5, told.append)
    assert few[1].tokens == 2 * WIDTH
    assert told[1].startswith("too few tokens to see whether C⁻¹k still moves")


@pytest.mark.parametrize(("batch", "window"), [(40, 50), (40, 10**6), (8192, 300)])
def test_where_it_stops_does_not_depend_on_batches(
    model: LoadedModel, batch: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure_moments(model, [1], TEXTS, ALL, None, 0.3)[1]
    monkeypatch.setattr(moment_accumulator, "BATCH_TOKENS", batch)
    monkeypatch.setattr(moment_accumulator, "WINDOW_TOKENS", window)
    again = measure_moments(model, [1], TEXTS, ALL, None, 0.3)[1]
    assert again.tokens == whole.tokens < counted(model)
    torch.testing.assert_close(again.matrix, whole.matrix, rtol=1e-4, atol=1e-7)


class Killed(Exception):
    """Raised in place of whatever interrupts a run."""


def test_a_killed_estimation_stops_where_a_whole_one_does(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment_accumulator, "BATCH_TOKENS", 40)
    monkeypatch.setattr(moment_accumulator, "WINDOW_TOKENS", 50)
    monkeypatch.setattr(moment_accumulator, "PROBE_TOKENS", 50)
    whole = measure_moments(model, [0, 1], TEXTS, ALL, None, 0.1)
    checkpoint = MomentCheckpoint(tmp_path / "sums.safetensors", "this job", seconds=0)

    def until_killed() -> Iterator[str]:
        read = 0
        for text in TEXTS:
            read += len(model.tokenizer(text)["input_ids"])
            if read > 0.9 * whole[0].tokens:
                raise Killed
            yield text

    with pytest.raises(Killed):
        measure_moments(model, [0, 1], until_killed(), ALL, checkpoint, 0.1)
    kept = checkpoint.read()
    assert kept is not None and set(kept.part("solved")) == {"0", "1"}
    resumed = measure_moments(model, [0, 1], TEXTS, ALL, checkpoint, 0.1)
    for layer in (0, 1):
        assert resumed[layer].tokens == whole[layer].tokens
        assert torch.equal(resumed[layer].matrix, whole[layer].matrix)


def test_what_a_doubling_moves_is_the_distance_that_is_left() -> None:
    draw = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, -2, 32)
    keys = torch.randn(2048, 32, generator=draw) * scales
    probes = torch.randn(400, 32, generator=draw) * scales
    found = Movement.of(0.1, {0: probes})
    sums = MomentSums()
    for half in keys.split(1024):
        sums.add({0: half})
        found.check(sums.mean, sums.tokens)
    limit = SecondMoment.from_matrix(0, torch.diag(scales.double() ** 2), 1)
    left = movement._moved(limit.solve(found.probes[0]), found.solved[0])
    assert found.moved == pytest.approx(left, rel=0.5)
    assert (found.before, found.tokens) == (1024, 2048)


def test_keys_of_no_dimension_more_than_tokens_are_not_compared() -> None:
    found = Movement.of(0.1, {0: torch.eye(4)})
    sums = MomentSums()
    sums.add({0: -torch.zeros(3, 4)})
    found.check(sums.mean, sums.tokens)
    assert (found.moved, found.settled, found.solved) == (None, False, {})


@pytest.fixture
def spec(saved_model: Callable[..., Path]) -> ModelSpec:
    return ModelSpec(name="tiny", source=str(saved_model("gpt2")))


def test_a_job_says_how_long_it_takes_before_it_starts(spec: ModelSpec, tmp_path: Path) -> None:
    file = tmp_path / "texts.json"
    file.write_text(json.dumps(TEXTS), encoding="utf-8")
    texts = TextSpec(path=str(file), tokens=ALL)
    told: list[str] = []

    def kill(line: str) -> None:
        told.append(line)
        raise Killed

    for tolerance in (None, 0.5):
        job = MomentJob(model=spec, layers=(0, 2), texts=texts, tolerance=tolerance)
        with pytest.raises(Killed):
            artefacts.write_moments(job, tmp_path / "moments", say=kill)
    assert not (tmp_path / "moments").exists()
    begins = f"estimate C of layers 0, 2 of tiny from at most 1,000,000 tokens of {file}: "
    assert all(line.startswith(begins) and "tokens/s measured)" in line for line in told)
    assert told[0].removeprefix(begins).startswith("about ")
    assert told[1].endswith("ends when C⁻¹k moves by less than 0.5")


def test_the_file_of_c_names_the_tolerance_and_the_tokens_that_were_read(
    spec: ModelSpec, tmp_path: Path
) -> None:
    file = tmp_path / "texts.json"
    file.write_text(json.dumps(TEXTS), encoding="utf-8")
    job = MomentJob(
        model=spec, layers=(1,), texts=TextSpec(path=str(file), tokens=ALL), tolerance=0.5
    )
    exact = job.model_copy(update={"tolerance": None})
    assert job.key != exact.key
    assert "tolerance" not in exact.as_json()
    told: list[str] = []
    artefacts.write_moments(job, tmp_path / "moments", say=told.append)
    about = provenance.read(tmp_path / "moments" / "layer-1.safetensors")
    assert about["job"]["tolerance"] == 0.5
    assert told[-1].startswith(f"stopped after {about['tokens']:,} of")


def test_a_model_writes_no_more_text_than_is_needed_and_later_continues(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from editcore.keyvalue.estimation import own_texts

    monkeypatch.setattr(own_texts, "LENGTH", 16)
    monkeypatch.setattr(own_texts, "MOST_ROWS", 4)
    writing = TextJob(model=spec, tokens=3000, seed=0)
    file = tmp_path / "texts.json"
    texts = writing.spec.model_copy(update={"path": str(file)})
    told: list[str] = []

    def tokens_of(layer: int, tolerance: float | None) -> int:
        job = MomentJob(model=spec, layers=(layer,), texts=texts, tolerance=tolerance)
        folder = tmp_path / f"moments-{layer}"
        artefacts.write_moments(job, folder, say=told.append, writing=writing)
        return int(provenance.read(folder / f"layer-{layer}.safetensors")["tokens"])

    few = tokens_of(0, 0.9)
    first = json.loads(file.read_text(encoding="utf-8"))
    assert few < 3000
    assert "that it writes itself: at most about" in told[0]
    assert tokens_of(1, None) == 3000
    every = json.loads(file.read_text(encoding="utf-8"))
    assert every[: len(first)] == first
    assert len(every) > len(first)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["moments-0", "moments-1", "texts.json"]
    model = artefacts.load_spec(spec, artefacts.load_registry())
    whole = own_texts.write_own_texts(model, 3000, 0)
    assert every[: len(whole)] == whole
