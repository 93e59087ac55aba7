"""The configuration of a GGUF file's model, before anything is loaded."""

import importlib.metadata
from pathlib import Path
from typing import Any

from editcore.errors import ModelError
from editcore.sources.cache import default_cache, sha256_of
from editcore.sources.gguf_header import Header, read_header

# Kinds of dense models that transformers' reader of GGUF builds: GGUF's name and transformers' own.
MODEL_TYPES = {
    "bloom": "bloom",
    "falcon": "falcon",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gpt2": "gpt2",
    "llama": "llama",
    "nemotron": "nemotron",
    "phi3": "phi3",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "stablelm": "stablelm",
    "starcoder2": "starcoder2",
}
# Sizes: the names of `config.json` and those of GGUF, after the kind of model.
SIZES = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "vocab_size": "vocab_size",
}
TOKENIZER = "tokenizer.ggml.model"


def configuration(file: Path) -> dict[str, Any]:
    """Type, sizes and number of experts of a file's model, under the names of `config.json`.

    Raises `DataError` if the file is no GGUF or is cut off, and `ModelError` for a kind of model
    that cannot be read from GGUF, or whose file lacks what the model needs.
    """
    header = read_header(file)
    kind, fields = header.architecture, header.fields
    experts = fields.get(f"{kind}.expert_count", 0)
    if not experts:  # planning refuses mixtures of experts of all sources alike
        _refuse_unreadable(file, header)
    sizes = {name: fields.get(f"{kind}.{key}") for name, key in SIZES.items()}
    return {"model_type": MODEL_TYPES.get(kind, kind), **sizes, "num_experts": experts}


def converted_folder(file: Path) -> Path:
    """Where the cache keeps a file's model as transformers saves it, once that has been made.

    Its name follows from the file's content and from the version of transformers that reads it.
    """
    reader = importlib.metadata.version("transformers")
    return default_cache() / "gguf" / f"{sha256_of(file)[:16]}-transformers-{reader}"


def _refuse_unreadable(file: Path, header: Header) -> None:
    kind = header.architecture
    if kind not in MODEL_TYPES:
        raise ModelError(
            f"{file}: a model of kind {kind!r} cannot be edited from a GGUF file; the kinds that "
            f"can are {', '.join(MODEL_TYPES)}. Give the model's folder or hub id instead"
        )
    if TOKENIZER not in header.fields:
        raise ModelError(
            f"{file} contains no tokenizer; give a file that has one, or the model's folder or hub "
            "id"
        )
    scaling = header.fields.get(f"{kind}.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in header.tensors:
        raise ModelError(
            f"{file}: its model scales rotary positions, which transformers ignores in GGUF files, "
            "so that other numbers would come out; give the model's folder or hub id instead"
        )
