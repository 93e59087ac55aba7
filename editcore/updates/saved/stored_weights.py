"""The file and offset of each weight of a saved model, found as transformers finds them."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from editcore.errors import DataError, ModelError, reading, require
from editcore.sources.safetensors_header import TensorPlace, read_header

WHOLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# GPT-NeoX's files name the head by what it was once called.
IN_FILES = {"lm_head.weight": "embed_out.weight"}
REMEDY = "get the model again, or save it with save_pretrained"


def stored_weights(folder: Path) -> dict[str, TensorPlace]:
    """The place of every weight, by its name in the files.

    They are in `model.safetensors`, or in the files that the index names. Raises `ModelError` if
    neither exists, the index does not fit its files, or a file is damaged.
    """
    try:
        if (folder / WHOLE).is_file():
            return dict(read_header(folder / WHOLE, REMEDY).places)
        if not (folder / INDEX).is_file():
            raise ModelError(f"{folder} has neither {WHOLE} nor {INDEX}; {REMEDY}")
        return _in_shards(folder, _index(folder / INDEX))
    except DataError as error:
        raise ModelError(str(error)) from error


def stored_name(names: Sequence[str], prefix: str, stored: Collection[str], folder: Path) -> str:
    """A parameter's name among those `stored` in a folder's files; `names` has several if tied.

    Some models are saved without the prefix of their base, or under earlier names. Raises
    `ModelError` if it is not there.
    """
    for name in names:
        bare = name.removeprefix(f"{prefix}.")
        for key in (name, bare, f"{prefix}.{name}", IN_FILES.get(name, name)):
            if key in stored:
                return key
    raise ModelError(
        f"{folder} has no tensor {names[0]} in its *.safetensors; save the model again "
        "with save_pretrained"
    )


def _index(file: Path) -> dict[str, str]:
    """The name of every weight's file, which must be in the same folder."""
    with reading(file, "index of a model's files", REMEDY):
        names = json.loads(file.read_text(encoding="utf-8"))["weight_map"].items()
        for weight, name in names:
            require(isinstance(name, str) and Path(name).name == name, f"{weight} is in {name!r}")
        return dict(names)


def _in_shards(folder: Path, index: Mapping[str, str]) -> dict[str, TensorPlace]:
    files = {name: read_header(folder / name, REMEDY).places for name in set(index.values())}
    for weight, name in index.items():
        if weight not in files[name]:
            raise ModelError(f"{folder / name} lacks {weight}, which {INDEX} lists there; {REMEDY}")
    return {weight: files[name][weight] for weight, name in index.items()}
