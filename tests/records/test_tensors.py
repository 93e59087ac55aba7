"""A file of tensors is what was written, or it is refused."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from editcore.editing import trained
from editcore.editing.trained import TrainedParts
from editcore.errors import DataError
from editcore.keyvalue import second_moment, value_file
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.value import Value
from editcore.models.loading import wrap_model
from editcore.records.tensors import TensorFile, opened, save_tensors
from editcore.sources.safetensors_header import read_header
from editcore.testing.models import tiny_model
from editcore.updates import cumulative_delta
from editcore.updates.cumulative_delta import CumulativeDelta
from editcore.updates.delta import Delta, DenseUpdate, load_deltas, save_deltas

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3).T,
    "half": torch.ones(3, dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "number": torch.tensor(3),
    "empty": torch.empty(0, 4),
}
MODEL = wrap_model("gpt2", *tiny_model("gpt2"))
CPU = torch.device("cpu")


def moment() -> SecondMoment:
    keys = torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return SecondMoment.from_matrix(0, keys.T @ keys / 40, 40)


def load_trained(path: Path) -> None:
    trained.load_trained(MODEL, [0], path)


def load_accumulated(path: Path) -> None:
    with cumulative_delta.applied(path, MODEL):
        pass


Artefact = tuple[Callable[[Path], None], Callable[[Path], object], str]
DELTA = Delta({"w": DenseUpdate(torch.ones(3))})
ARTEFACTS: dict[str, Artefact] = {
    "second moment": (
        lambda path: second_moment.save(moment(), path, {}),
        second_moment.load,
        "editcore moments",
    ),
    "values": (
        lambda path: value_file.save({3: Value(torch.ones(4), torch.ones(4), 2, 0.5)}, path, {}),
        lambda path: value_file.load(path, CPU),
        "editcore values",
    ),
    "trained": (
        lambda path: trained.save_trained(
            TrainedParts({"x": torch.ones(2)}), path, MODEL, [0], "{}"
        ),
        load_trained,
        "editcore train",
    ),
    "deltas": (lambda path: save_deltas({1: DELTA}, path, {}), load_deltas, "editcore edit"),
    "accumulated": (
        lambda path: cumulative_delta.save(CumulativeDelta(MODEL), path, {}),
        load_accumulated,
        "editcore sequence",
    ),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_tensors(path, TENSORS, {"about": "a test"})
    return path


def test_what_was_written_is_read(file: Path) -> None:
    with opened(file, "tensors") as found:
        assert found.about["about"] == "a test"
        assert set(found.names) == set(TENSORS)
        assert all(torch.equal(found[name], tensor) for name, tensor in TENSORS.items())


def test_equal_content_has_one_digest_whatever_its_order(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.safetensors"
    save_tensors(other, dict(reversed(TENSORS.items())), {"about": "a test"})
    assert read_header(file).metadata == read_header(other).metadata
    save_tensors(other, TENSORS, {"about": "another"})
    assert read_header(file).metadata["digest"] != read_header(other).metadata["digest"]


def test_no_byte_of_a_file_can_change_unseen(file: Path) -> None:
    content = file.read_bytes()
    draw = random.Random(0)
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << draw.randrange(8)
        file.write_bytes(changed)
        try:
            with opened(file, "tensors") as found:
                same = found.about.get("about") == "a test"
                equal = {n: torch.equal(found[n], TENSORS[n]) for n in found.names}
        except DataError:
            continue
        assert same, place
        assert equal == dict.fromkeys(TENSORS, True), place


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_an_artefact_without_digest_is_refused_with_what_makes_it_again(
    tmp_path: Path, kind: str
) -> None:
    save, load, command = ARTEFACTS[kind]
    path = tmp_path / "x.safetensors"
    save(path)
    load(path)
    about = dict(read_header(path).metadata)
    del about["digest"]
    save_file(load_file(path), path, about)
    with pytest.raises(DataError, match=rf"x\.safetensors has no digest.*`{command}`"):
        load(path)


@pytest.mark.parametrize("name", ["matrix", "factor"])
def test_a_second_moment_with_a_transposed_or_changed_matrix_is_refused(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "c.safetensors"
    second_moment.save(moment(), path, {})
    about, tensors = dict(read_header(path).metadata), load_file(path)
    shifted = tensors[name].clone()
    shifted[0, 0] += 1e-3
    for changed in (tensors["factor"].T.to(shifted.dtype), shifted):
        save_file({**tensors, name: changed.contiguous()}, path, about)
        with pytest.raises(DataError, match=r"c\.safetensors has changed.*`editcore moments`"):
            second_moment.load(path)


class Name(str):
    """A name that counts how often names are compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)


class Numbered:
    """An open file of 500 tensors, each of which is a number."""

    def keys(self) -> list[Name]:
        return [Name(n) for n in range(500)]

    def metadata(self) -> None:
        return None

    def get_tensor(self, name: str) -> torch.Tensor:
        return torch.tensor(int(name))


def test_reading_every_tensor_compares_no_name_with_all_others() -> None:
    found = TensorFile(Numbered()).all()
    assert {int(name): int(tensor) for name, tensor in found.items()} == {n: n for n in range(500)}
    assert Name.compared <= 10 * 500  # with all others: 125,000
