"""An adapter in a GGUF file, as llama.cpp reads it.

Its tensors are named after those of the model's GGUF file, with `.lora_a` and `.lora_b` appended,
and llama.cpp adds alpha / rank · B·A to each
(https://github.com/ggml-org/llama.cpp/blob/master/src/llama-adapter.cpp).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gguf
import torch
from gguf import MODEL_TENSOR

from editcore.atomic import replacing
from editcore.errors import ModelError, reading
from editcore.planning import preflight
from editcore.sources.gguf_model import MODEL_TYPES
from editcore.updates.adapters.base import Base
from editcore.updates.adapters.factors import WEIGHT, LoraFactors
from editcore.updates.delta import Delta, LowRankUpdate

FILE = "adapter.gguf"
A, B = ".lora_a", ".lora_b"
# The name in GGUF of each type of transformers.
ARCHITECTURES = MappingProxyType(
    {own: name for name, own in MODEL_TYPES.items()} | {"mistral": "llama"}
)
# Maps whose rows are in another order in GGUF files: for rotary positions, or by head.
REORDERED: Mapping[str, frozenset[MODEL_TENSOR]] = MappingProxyType(
    {
        "llama": frozenset({MODEL_TENSOR.ATTN_Q, MODEL_TENSOR.ATTN_K}),
        "bloom": frozenset({MODEL_TENSOR.ATTN_QKV}),
        "falcon": frozenset({MODEL_TENSOR.ATTN_QKV}),
    }
)
BLOCK = "blk."


def tensor_names(factors: LoraFactors, folder: Path) -> dict[str, str]:
    """GGUF's name of each changed weight of the model in `folder`.

    Raises `ModelError` for a type of model whose names are not known, for weights outside the
    blocks, and for maps whose rows llama.cpp keeps in another order.
    """
    config = preflight.configuration(str(folder), None)
    kind, depth = str(config.get("model_type")), preflight.depth(str(folder))
    if kind not in ARCHITECTURES or depth is None:
        raise ModelError(
            f"the layout of adapters for llama.cpp is known for models of type "
            f"{', '.join(ARCHITECTURES)}, and this one is of type {kind!r}; use another format"
        )
    names = gguf.get_tensor_name_map(_architecture(ARCHITECTURES[kind]), depth)
    return {weight: _name(weight, names, kind) for weight in factors.updates}


def _architecture(name: str) -> gguf.MODEL_ARCH:
    return next(arch for arch, each in gguf.MODEL_ARCH_NAMES.items() if each == name)


def _name(weight: str, names: gguf.TensorNameMap, kind: str) -> str:
    found = names.get_type_and_name(weight, try_suffixes=(WEIGHT,))
    if found is None or not found[1].startswith(BLOCK):
        raise ModelError(f"llama.cpp takes no adapter of {weight}; use another format")
    if found[0] in REORDERED.get(ARCHITECTURES[kind], ()):
        raise ModelError(
            f"llama.cpp keeps the rows of {weight} in another order, so its adapter would change "
            "the wrong ones; use another format"
        )
    return found[1]


def write_adapter(factors: LoraFactors, folder: Path, base: Base) -> None:
    """Write `adapter.gguf`; raises as `tensor_names` does."""
    names = tensor_names(factors, base.folder)
    kind = str(preflight.configuration(str(base.folder), None)["model_type"])
    with replacing(folder / FILE) as partial:
        writer = gguf.GGUFWriter(partial, ARCHITECTURES[kind])
        writer.add_type(gguf.GGUFType.ADAPTER)
        writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
        writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(factors.rank))
        writer.add_string("editcore.base", json.dumps(base.as_dict()))
        for weight, name in names.items():
            for part, matrix in zip((A, B), factors.matrices(weight), strict=True):
                writer.add_tensor(f"{name}{part}", matrix.numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def read_adapter(file: Path, names: Mapping[str, str]) -> Delta:
    """The change that llama.cpp would add, read with gguf's own reader; `names` as above.

    Raises `DataError` if the file is no adapter with exactly these tensors.
    """
    with reading(file, "adapter for llama.cpp"):
        reader = gguf.GGUFReader(file)
        found = {tensor.name: torch.tensor(tensor.data) for tensor in reader.tensors}
        alpha = _field(reader, gguf.Keys.Adapter.LORA_ALPHA)
        updates = {}
        for weight, name in names.items():
            a, b = found.pop(f"{name}{A}"), found.pop(f"{name}{B}")
            updates[weight] = LowRankUpdate(b, a.T).scaled(alpha / len(a))
        if found:
            raise ValueError(f"it has the unknown tensor {next(iter(found))}")
    return Delta(updates)


def _field(reader: gguf.GGUFReader, name: str) -> Any:
    field = reader.get_field(name)
    if field is None:
        raise ValueError(f"it has no field {name}")
    return field.contents()
