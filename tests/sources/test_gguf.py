"""A model in a GGUF file is the model that was written, or is refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

from editcore.errors import EditcoreError, ModelError
from editcore.models.gguf import converted
from editcore.models.loading import load_model
from editcore.planning import preflight
from editcore.planning.model_types import refuse_unfit
from editcore.sources.gguf_header import KINDS, read_header
from editcore.sources.gguf_model import MODEL_TYPES
from editcore.testing.models import LAYERS, SENTENCES
from tests.gguf_files import ARCHITECTURES, write_gguf


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids])).logits


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_float32_file_loads_as_the_model_and_tokenizer_that_were_written(
    tmp_path: Path, architecture: str
) -> None:
    model, tokenizer = write_gguf(tmp_path / "tiny.gguf", architecture)
    loaded = load_model("tiny", str(tmp_path / "tiny.gguf"))
    for sentence in SENTENCES:
        ids = tokenizer(sentence)["input_ids"]
        assert loaded.tokenizer(sentence)["input_ids"] == ids
        torch.testing.assert_close(logits(loaded.model, ids), logits(model, ids))


@pytest.mark.parametrize("kind", [Kind.F16, Kind.BF16, Kind.Q8_0, Kind.Q4_0, Kind.Q4_1])
def test_a_quantised_file_loads_with_the_numbers_that_its_blocks_stand_for(
    tmp_path: Path, kind: Kind
) -> None:
    model, _ = write_gguf(tmp_path / "tiny.gguf", kind=kind)
    loaded = load_model("tiny", str(tmp_path / "tiny.gguf"))
    name = "model.layers.1.mlp.down_proj.weight"
    stored = gguf.quantize(model.get_parameter(name).detach().numpy(), kind)
    expected = torch.from_numpy(gguf.dequantize(stored, kind).copy())
    assert torch.equal(loaded.model.get_parameter(name), expected)
    assert read_header(tmp_path / "tiny.gguf").precision == kind.name


def test_a_file_is_dequantised_once_and_loads_without_itself_being_read(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    folder = converted(file)
    assert folder.parent == cache / "gguf"
    monkeypatch.setattr("editcore.models.gguf._convert", lambda *_: pytest.fail("read again"))
    assert converted(file) == folder
    assert load_model("tiny", str(folder)).parts.depth == LAYERS
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_another_content_under_the_same_name_is_another_model(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    first = converted(file)
    write_gguf(file, **{"general.name": "other"})
    assert converted(file) != first


def test_planning_knows_type_and_depth_without_torch_and_takes_no_folder_for_a_file(
    tmp_path: Path,
) -> None:
    write_gguf(tmp_path / "tiny.gguf")
    source = str(tmp_path / "tiny.gguf")
    assert preflight.configuration(source, None)["model_type"] == "qwen2"
    assert preflight.depth(source) == LAYERS
    assert preflight.model_files(source) == [tmp_path / "tiny.gguf"]
    assert preflight.tokenizer_file(source) is None
    folder = converted(tmp_path / "tiny.gguf")
    assert preflight.tokenizer_file(source) == folder / "tokenizer.json"
    (tmp_path / "folder.gguf").mkdir()
    with pytest.raises(ModelError, match=r"model folder .*folder\.gguf has no config\.json"):
        preflight.model_files(str(tmp_path / "folder.gguf"))


def test_the_kinds_of_models_and_numbers_are_those_that_transformers_and_gguf_read() -> None:
    assert set(MODEL_TYPES) <= set(GGUF_CONFIG_MAPPING)
    for number, (name, block, size) in KINDS.items():
        assert Kind(number).name == name
        assert gguf.GGML_QUANT_SIZES[Kind(number)] == (block, size)
        gguf.dequantize(gguf_zeros(number), Kind(number))


def gguf_zeros(number: int) -> Any:
    import numpy as np

    _, block, size = KINDS[number]
    if number == Kind.F32:
        return np.zeros(block, np.float32)
    return np.zeros(block, np.float16) if number == Kind.F16 else np.zeros(size, np.uint8)


def without(path: Path, **fields: Any) -> Path:
    write_gguf(path, **fields)
    return path


def cut(path: Path, keep: Callable[[bytes], bytes]) -> Path:
    write_gguf(path)
    path.write_bytes(keep(path.read_bytes()))
    return path


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda path: None, r"there is no model file '"),
    "empty": (lambda path: path.write_bytes(b""), r"contains no GGUF model .*it is empty"),
    "of another kind": (
        lambda path: path.write_bytes(b"PK\x03\x04" + b"\0" * 100),
        r"does not begin with the letters GGUF",
    ),
    "of a later version": (
        lambda path: cut(path, lambda b: b[:4] + b"\x09" + b[5:]),
        r"its version is 9, and versions 2 and 3 can be read",
    ),
    "cut off in its header": (lambda path: cut(path, lambda b: b[:1000]), r"header is cut off"),
    "cut off in its tensors": (
        lambda path: cut(path, lambda b: b[:-1000]),
        r"its tensors take [\d,]+ bytes, and it has [\d,]+: it is cut off",
    ),
    "with a length beyond the file": (
        lambda path: cut(path, lambda b: b[:24] + b"\xff" * 8 + b[32:]),
        r"header is cut off",
    ),
    "of a kind that has no MLP": (
        lambda path: without(path, **{"general.architecture": "mamba"}),
        r"a model of kind 'mamba' cannot be edited from a GGUF file; the kinds that can are bloom",
    ),
    "of a kind that nobody knows": (
        lambda path: without(path, **{"general.architecture": "hovercraft"}),
        r"a model of kind 'hovercraft' cannot be edited",
    ),
    "without a tokenizer": (
        lambda path: without(path, **{"tokenizer.ggml.model": None}),
        r"contains no tokenizer",
    ),
    "with a tokenizer that nobody knows": (
        lambda path: without(path, **{"tokenizer.ggml.model": "runes"}),
        r"cannot be read by transformers: .*'runes'",
    ),
    "with scaled positions": (
        lambda path: without(path, **{"qwen2.rope.scaling.type": "yarn"}),
        r"its model scales rotary positions, which transformers ignores",
    ),
    "that lacks weights": (
        lambda path: without(path, **{"qwen2.block_count": LAYERS + 1}),
        r"lacks 1\d of its model's weights, such as model\.layers\.3\.",
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_file_that_cannot_be_edited_is_refused_with_the_reason(
    tmp_path: Path, cache: Path, why: str
) -> None:
    make, message = REFUSED[why]
    file = tmp_path / "tiny.gguf"
    make(file)
    with pytest.raises(EditcoreError, match=message):
        load_model("tiny", str(file))
    assert not list(cache.glob("gguf/[!.]*")), "nothing that looks like a model is kept"


def test_a_mixture_of_experts_is_refused_as_from_any_other_source(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file, **{"qwen2.expert_count": 8})
    with pytest.raises(ModelError, match="a mixture of 8 experts"):
        refuse_unfit("tiny", preflight.configuration(str(file), None))


def test_a_file_must_have_the_sha256_that_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write_gguf(file)
    with pytest.raises(ModelError, match=r"has the SHA-256 [0-9a-f]{64}, and 0{64} is required"):
        load_model("tiny", str(file), sha256="0" * 64)
    with pytest.raises(ModelError, match=r"only a \.gguf file has a `sha256`"):
        load_model("tiny", "tiny-gpt2", sha256="0" * 64)
