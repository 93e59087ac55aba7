"""A small model in two files, changes of it, and the ways in which its folder can be damaged."""

import json
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

INDEX = "model.safetensors.index.json"
KEPT = "editcore-applied"
WIDTH, MLP_WIDTH = 32, 64
# Small enough that the two changed blocks are in different files.
SHARD = "90KB"


def sharded(folder: Path) -> Path:
    """A random GPT-2 of three blocks in Hugging Face format, its weights in several files."""
    from editcore.testing.models import tiny_model

    model, tokenizer = tiny_model("gpt2")
    model.save_pretrained(folder, max_shard_size=SHARD)
    tokenizer.save_pretrained(folder)
    return folder


def write_delta(
    path: Path,
    seed: int = 0,
    *,
    size: float = 1.0,
    width: int = WIDTH,
    case: int = 0,
    rank: int = 1,
    layers: Sequence[int] = (0, 2),
) -> Path:
    """A low-rank change of some blocks of that model; the seed decides the numbers."""
    import torch

    from editcore.updates.delta import Delta, LowRankUpdate, save_deltas

    draw = torch.Generator().manual_seed(seed)
    updates = {
        f"transformer.h.{layer}.mlp.c_proj.weight": LowRankUpdate(
            size * torch.randn(width, rank, generator=draw),
            torch.randn(MLP_WIDTH, rank, generator=draw),
        )
        for layer in layers
    }
    save_deltas({case: Delta(updates)}, path, {})
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by relative path; includes hidden files."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def shard(folder: Path) -> Path:
    """The weights file that contains the first changed block."""
    index = json.loads((folder / INDEX).read_text())
    return folder / index["weight_map"]["transformer.h.0.mlp.c_proj.weight"]


def record(folder: Path) -> Path:
    """The latest file with replaced weights."""
    return max((folder / KEPT).glob("*.safetensors"))


Harm = Callable[[Path], object]


def _bytes(find: Callable[[Path], Path], change: Callable[[bytes], bytes]) -> Harm:
    def harm(folder: Path) -> None:
        file = find(folder)
        file.write_bytes(change(file.read_bytes()))

    return harm


def _header(find: Callable[[Path], Path], change: Callable[[dict[str, dict]], object]) -> Harm:
    """Change the header of a safetensors file, but not its numbers."""

    def renewed(content: bytes) -> bytes:
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + content[8 + length :]

    return _bytes(find, renewed)


def _config(**changes: object) -> Harm:
    def harm(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return harm


def _index(change: Callable[[dict[str, str]], object]) -> Harm:
    """Change the map from tensors to files."""

    def harm(folder: Path) -> None:
        file = folder / INDEX
        index = json.loads(file.read_text())
        change(index["weight_map"])
        file.write_text(json.dumps(index))

    return harm


def _file(name: str, content: bytes) -> Harm:
    return lambda folder: (folder / name).write_bytes(content)


def _directory(folder: Path) -> None:
    file = shard(folder)
    file.unlink()
    file.mkdir()


def _out_of_the_folder(folder: Path) -> None:
    outside = folder.with_name("outside.safetensors")
    shutil.copyfile(shard(folder), outside)
    lead = {"transformer.h.0.mlp.c_proj.weight": f"../{outside.name}"}
    _index(lambda places: places.update(lead))(folder)


def _as_integers(header: dict[str, dict]) -> None:
    header["transformer.h.0.mlp.c_proj.weight"]["dtype"] = "I32"


KEY = "transformer.h.0.mlp.c_proj.weight"

MODELS: Mapping[str, Harm] = MappingProxyType(
    {
        "weights truncated": _bytes(shard, lambda content: content[:-1000]),
        "weights too long": _bytes(shard, lambda content: content + bytes(100)),
        "weights empty": _bytes(shard, lambda _: b""),
        "header length 2^63": _bytes(shard, lambda c: struct.pack("<Q", 1 << 63) + c[8:]),
        "header longer than the file": _bytes(shard, lambda c: struct.pack("<Q", 10**7) + c[8:]),
        "header no JSON": _bytes(shard, lambda c: c[:8] + b"{oops" + c[13:]),
        "header with an offset outside": _header(
            shard, lambda h: h[KEY].update(data_offsets=[0, 1 << 40])
        ),
        "header of another shape": _header(shard, lambda h: h[KEY].update(shape=[64, 31])),
        "weights as integers": _header(shard, _as_integers),
        "weights a folder": _directory,
        "weights missing": lambda folder: [f.unlink() for f in folder.glob("*.safetensors")],
        "one file of weights missing": lambda folder: shard(folder).unlink(),
        "config garbage": _file("config.json", b"{oops"),
        "config no UTF-8": _file("config.json", b"\xff\xfe{}"),
        "config a list": _file("config.json", b"[]"),
        "config of no model": _file("config.json", b"{}"),
        "config of an unknown kind": _config(model_type="nothing-like-it"),
        "config with a text for a width": _config(n_embd="wide"),
        "config with no heads": _config(n_head=0),
        "config of another width": _config(n_embd=64),
        "config missing": lambda folder: (folder / "config.json").unlink(),
        "index missing": lambda folder: (folder / INDEX).unlink(),
        "index garbage": _file(INDEX, b"\x00{"),
        "index a list": _file(INDEX, b"[1]"),
        "index without a map": _file(INDEX, b'{"weight_map": [1]}'),
        "index names a missing file": _index(
            lambda places: places.update({KEY: "gone.safetensors"})
        ),
        "index names the wrong file": _index(
            lambda places: places.update({KEY: places["transformer.h.2.mlp.c_proj.weight"]})
        ),
        "index lacks a tensor": _index(lambda places: places.pop(KEY)),
        "index names a number": _index(lambda places: places.update({KEY: 3})),
        "index leads out of the folder": _out_of_the_folder,
    }
)

RECORDS: Mapping[str, Harm] = MappingProxyType(
    {
        "record empty": _bytes(record, lambda _: b""),
        "record garbled": _bytes(record, lambda content: b"\x01" * len(content)),
        "record truncated": _bytes(record, lambda content: content[:-10]),
        "record without a list": _header(record, lambda h: h["__metadata__"].pop("written")),
        "record with a list of another kind": _header(
            record, lambda h: h["__metadata__"].update(written="[1, 2]")
        ),
        "record with a garbled list": _header(
            record, lambda h: h["__metadata__"].update(written="{oops")
        ),
        "record without metadata": _header(record, lambda h: h.pop("__metadata__")),
        "record without a tensor": _header(record, lambda h: h["__metadata__"].update(
            written=json.dumps({**json.loads(h["__metadata__"]["written"]), "more": "0" * 64})
        )),
        "record with flipped bytes": _bytes(record, lambda c: c[:-8] + bytes(8)),
    }
)  # fmt: skip
