"""Broken models, full disks and killed writers: a plain error, and no partial file."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from editcore.atomic import write_tensors, write_text
from editcore.errors import DataError, EditcoreError, ModelError
from editcore.models.loading import load_model, load_tokenizer
from editcore.records.schemas import EDITS
from editcore.records.tables import read_edits, write_table
from editcore.testing.models import save_tiny_model
from tests.rows import edit_row

SMALLEST_MOUNT = "64k"


def change_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "model.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, metadata={"format": "pt"})

    return apply


def rename(tensors: dict[str, torch.Tensor]) -> None:
    tensors["transformer.h.1.mlp.output.weight"] = tensors.pop("transformer.h.1.mlp.c_proj.weight")


def lose(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["transformer.h.0.attn.c_attn.bias"]


def spoil(tensors: dict[str, torch.Tensor]) -> None:
    tensors["transformer.h.0.ln_1.weight"][3] = float("nan")


def widen(tensors: dict[str, torch.Tensor]) -> None:
    tensors["transformer.h.0.ln_1.weight"] = torch.ones(7)


def strange_token(folder: Path) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.__getitem__)] += 1000
    file.write_text(json.dumps(content))


def settings(**changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return apply


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def without(*names: str) -> Callable[[Path], None]:
    def remove(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return remove


def overwrite(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text("{oops") and None


def ask(**sizes: int) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **sizes}))

    return apply


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (change_weights(rename), ["lack 1 ", "h.1.mlp.c_proj.weight", "h.1.mlp.output.weight"]),
        (change_weights(lose), ["lack 1 ", "h.0.attn.c_attn.bias"]),
        (change_weights(spoil), ["non-finite", "h.0.ln_1.weight"]),
        (change_weights(widen), ["ln_1.weight", "shape (7,)", "(32,)"]),
        (truncate, ["cannot be loaded"]),
        (without("model.safetensors"), ["cannot be loaded", "model.safetensors"]),
        (without("tokenizer.json", "tokenizer_config.json"), ["has no tokenizer"]),
        (overwrite("config.json"), ["cannot be loaded"]),
        (overwrite("tokenizer.json"), ["cannot be loaded"]),
        (strange_token, ["makes tokens up to 1", "get the tokenizer that belongs"]),
        (ask(n_embd=2**24), ["not enough memory to load model 'tiny'", "a machine with more"]),
        (ask(n_inner=2**60), ["not enough memory to load model 'tiny'", "a machine with more"]),
        (settings(model_max_length=[]), ["cannot be loaded", "'int' and 'list'"]),
        (settings(pad_token=1e308), ["cannot be loaded", "pad_token has to be"]),
    ],
)
def test_an_incomplete_model_is_refused(
    tmp_path: Path, harm: Callable[[Path], None], words: list[str]
) -> None:
    folder = save_tiny_model("gpt2", tmp_path)
    harm(folder)
    with pytest.raises(ModelError) as caught:
        load_model("tiny", str(folder))
    assert all(word in str(caught.value) for word in words), caught.value


@pytest.mark.parametrize(
    "harm", [overwrite("tokenizer.json"), settings(pad_token=1e308), settings(model_max_length=[])]
)
def test_a_tokenizer_that_is_broken_is_refused(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    folder = save_tiny_model("gpt2", tmp_path)
    harm(folder)
    with pytest.raises(DataError, match="no tokenizer can be loaded from"):
        load_tokenizer(str(folder))


WRITERS: dict[str, Callable[[Path], None]] = {
    "table": lambda path: write_table(
        path, [edit_row(n, subject="x" * 200 + str(n * n)) for n in range(9000)], EDITS, {}
    ),
    "tensors": lambda path: write_tensors(path, {"w": torch.rand(100_000)}, {}),
    "text": lambda path: write_text(path, "many words " * 100_000),
}


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A disk that is almost full; skipped if it cannot be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALLEST_MOUNT}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_is_an_error_and_leaves_nothing(full: Path, kind: str) -> None:
    with pytest.raises(EditcoreError, match=r"cannot be written .*; free space or choose another"):
        WRITERS[kind](full / "out")
    assert list(full.iterdir()) == []


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_may_not_grow_is_an_error(tmp_path: Path, kind: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(EditcoreError, match="cannot be written"):
            WRITERS[kind](tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(EditcoreError, match=r"results/edits/a\.parquet cannot be written"):
        write_table(tmp_path / "results" / "edits" / "a.parquet", [edit_row(1)], EDITS, {})


WRITE_FOREVER = """
import sys
from pathlib import Path
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from tests.rows import edit_row
version = 0
while True:
    version += 1
    rows = [edit_row(n, subject=str(version)) for n in range(2000)]
    write_table(Path(sys.argv[1]), rows, EDITS, {"version": version})
    print(version, flush=True)
"""


def test_a_killed_writer_never_leaves_half_a_table(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    for delay in (0.0, 0.003, 0.008, 0.015):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_FOREVER, str(path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert writer.stdout is not None
        for _ in range(2):
            writer.stdout.readline()
        time.sleep(delay)
        writer.kill()
        writer.wait()
        rows = read_edits([path])
        assert (rows.height, rows["subject"].n_unique()) == (2000, 1)
    # A killed writer's file is hidden, so no reader or pattern takes it for a table.
    left = [p for p in tmp_path.iterdir() if p != path]
    assert all(p.name.startswith(".") and p.name.endswith(".partial") for p in left)
    assert pl.read_parquet(tmp_path / "*.parquet").height == 2000


def test_a_table_that_somebody_else_wrote_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"model": ["x"]}).write_parquet(path)
    with pytest.raises(DataError, match=r"a\.parquet"):
        read_edits([path])
    path.write_text(json.dumps({"a": 1}))
    with pytest.raises(DataError, match=r"a\.parquet: not a whole Parquet file"):
        read_edits([path])
