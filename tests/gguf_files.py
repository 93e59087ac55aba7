"""Writes tiny random models as GGUF files, with gguf's own writer, and wheels that contain them."""

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind

from editcore.testing.models import CONTEXT, HEADS, KV_HEADS, LAYERS, MLP_WIDTH, WIDTH, tiny_model

CONTROL, NORMAL = 3, 1
# Types that transformers and GGUF call by the same name, as these tests write them.
ARCHITECTURES = ("llama", "qwen2")
METADATA = (
    "Metadata-Version: 2.2\nName: {}\nVersion: {}\nLicense: {}\nRequires-Dist: no-such-package\n"
)


def write_gguf(
    path: Path, architecture: str = "qwen2", kind: Kind = Kind.F32, **fields: Any
) -> tuple[Any, Any]:
    """Write `tiny_model(architecture)`; that model and its tokenizer.

    Matrices whose rows are whole blocks are stored as `kind`, all else in float32. `fields` are
    added to the file, or replace what it would have.
    """
    model, tokenizer = tiny_model(architecture)
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    for name, value in {**_fields(architecture, tokenizer), **fields}.items():
        if value is not None:
            _add(writer, name, value)
    for name, weight in gguf_tensors(architecture, model).items():
        stored = Kind.F32 if weight.ndim == 1 else kind
        writer.add_tensor(name, gguf.quantize(weight, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, tokenizer


def _fields(architecture: str, tokenizer: Any) -> dict[str, Any]:
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    merges = gguf_merges(tokenizer)
    sizes = {
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "block_count": LAYERS,
        "feed_forward_length": MLP_WIDTH,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": 10000.0,
        "vocab_size": len(tokens),
    }
    return {f"{architecture}.{name}": value for name, value in sizes.items()} | {
        "general.name": "tiny",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [CONTROL, *[NORMAL] * (len(tokens) - 1)],
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
    }


def gguf_merges(tokenizer: Any) -> list[str]:
    """The merges of a byte-level BPE, as GGUF writes them."""
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [" ".join(pair) for pair in merges]


def _add(writer: Any, name: str, value: Any) -> None:
    if isinstance(value, list):
        writer.add_array(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    else:
        writer.add_uint32(name, value)


def gguf_tensors(architecture: str, model: Any) -> dict[str, np.ndarray]:
    """The weights under GGUF's names; llama's queries and keys in GGUF's own order."""
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, LAYERS)
    found = {}
    for name, parameter in model.state_dict().items():
        stem, dot, suffix = name.rpartition(".")
        weight = parameter.numpy()
        if architecture == "llama" and stem.endswith(("q_proj", "k_proj")):
            weight = _interleaved(weight, HEADS if stem.endswith("q_proj") else KV_HEADS)
        if name != "lm_head.weight" or not model.config.tie_word_embeddings:
            found[f"{names.get_name(stem)}{dot}{suffix}"] = weight
    return found


def _interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head in pairs (i, i + half), as llama.cpp rotates them."""
    rows = weight.reshape(heads, 2, len(weight) // heads // 2, -1)
    return rows.swapaxes(1, 2).reshape(weight.shape)


def write_wheel(
    folder: Path, files: Mapping[str, bytes], name: str = "tiny-model", licence: str = "Apache-2.0"
) -> Path:
    """A wheel of version 0.1 with these files, which needs a package that does not exist."""
    stem = name.replace("-", "_")
    about = f"{stem}-0.1.dist-info"
    content = {
        **files,
        f"{about}/METADATA": METADATA.format(name, "0.1", licence).encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*content, f"{about}/RECORD"])
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{stem}-0.1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**content, f"{about}/RECORD": record.encode()}.items():
            archive.writestr(path, data)
    return wheel


def sha256(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()
