"""A folder's ledger lists its edits, notices other changes, and any low-rank edit can be undone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from editcore.planning.preflight import UNFINISHED
from editcore.updates.delta import Delta, DenseUpdate, save_deltas
from editcore.updates.saved import weight_files
from editcore.updates.saved.edit_record import EditRecord, applied, read_record
from editcore.updates.saved.ledger import read_ledger
from editcore.updates.saved.stored_weights import stored_weights
from tests.command_line import done, refused, run
from tests.model_folders import (
    KEPT,
    KEY,
    RECORDS,
    WIDTH,
    contents,
    record,
    shard,
    sharded,
    write_delta,
)

MLP_WIDTH = 64
# The blocks that each change in a stack alters: some share weights, some do not.
LAYERS = ((0, 2), (0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0,), (1,), (0, 1, 2))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def model(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "model"))


def weights(folder: Path) -> dict[str, bytes]:
    """The files without the records, which contain times and numbers of edits."""
    return {name: content for name, content in contents(folder).items() if KEPT not in name}


def apply(folder: Path, *seeds: int) -> None:
    """Apply some changes in order, of rank 1 to 3."""
    for seed in seeds:
        file = folder.parent / f"delta-{seed}.safetensors"
        write_delta(file, seed, rank=1 + seed % 3, layers=LAYERS[seed])
        done("apply", file, folder, "--in-place")


def apply_dense(folder: Path) -> None:
    file = folder.parent / "dense.safetensors"
    save_deltas({0: Delta({KEY: DenseUpdate(torch.ones(WIDTH, MLP_WIDTH))})}, file, {})
    done("apply", file, folder, "--in-place")


def in_dtype(folder: Path, dtype: torch.dtype) -> None:
    for file in folder.glob("*.safetensors"):
        tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
        save_file(tensors, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("count", "edit", "dtype"), [(10, 4, torch.float32), (3, 1, torch.bfloat16)]
)
def test_a_stack_without_one_edit_is_what_the_others_make_in_order(
    base: Path, model: Path, tmp_path: Path, count: int, edit: int, dtype: torch.dtype
) -> None:
    others = Path(shutil.copytree(base, tmp_path / "others"))
    for folder in (model, others):
        in_dtype(folder, dtype)
    before = contents(model)
    apply(model, *range(count))
    apply(others, *(seed for seed in range(count) if seed != edit - 1))
    assert f"1 reverted, {count - 1} still applied" in done("revert", model, "--edit", edit)
    assert weights(model) == weights(others)
    lines, those = read_ledger(model), read_ledger(others)
    assert [line.id for line in lines] == [n for n in range(1, count + 1) if n != edit]
    assert [(line.before, line.after) for line in lines] == [(t.before, t.after) for t in those]
    for mine, theirs in zip(applied(model), applied(others), strict=True):
        assert read_record(mine).old == read_record(theirs).old
    assert done("verify", model) == f"{model}: the weights are those that edit {count} left\n"
    done("revert", model, "--all")
    assert contents(model) == before


def test_the_newest_edit_leaves_no_trace(model: Path) -> None:
    apply(model, 0)
    before = contents(model)
    apply(model, 1)
    done("revert", model, "--edit", 2)
    assert contents(model) == before


def test_a_dense_edit_is_reverted_only_when_it_is_the_newest(model: Path) -> None:
    apply(model, 0)
    only = weights(model)
    apply_dense(model)
    apply(model, 1)
    before = contents(model)
    for edit in (1, 2):
        message = refused("revert", model, "--edit", edit)
        assert f"edit {edit} cannot be reverted alone, since of edit 2 no factors" in message
        assert "revert the newest edits first" in message
    assert contents(model) == before
    done("revert", model, "--edit", 3)
    done("revert", model, "--edit", 2)
    assert weights(model) == only


def test_an_unknown_edit_is_refused_with_the_ids_that_there_are(model: Path) -> None:
    apply(model, 0, 1)
    before = contents(model)
    assert "carries no edit 7; there are 1, 2 (" in refused("revert", model, "--edit", 7)
    assert contents(model) == before


def test_weights_that_others_changed_are_not_reverted(model: Path) -> None:
    apply(model, 0, 1)
    tensors = load_file(shard(model))
    save_file({**tensors, KEY: tensors[KEY] + 1}, shard(model), {"format": "pt"})
    before = contents(model)
    assert "no longer what editcore wrote" in refused("revert", model, "--edit", 1)
    assert contents(model) == before
    apply(model, 5)
    assert "was changed by other means before edit 3" in refused("revert", model, "--edit", 1)


def test_a_machine_that_rounds_otherwise_is_refused(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(model, 0, 1)
    before = contents(model)
    whole = weight_files.stored_weights
    assert whole is stored_weights
    from editcore.updates.saved.weight_change import SavedModel

    added = SavedModel.added
    monkeypatch.setattr(
        SavedModel, "added", lambda self, key, old, change: added(self, key, old, 1.001 * change)
    )
    assert "with other rounding than the one" in refused("revert", model, "--edit", 1)
    assert contents(model) == before


def test_without_room_on_the_disk_nothing_changes(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(model, 0, 1)
    before = contents(model)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for module, function in ((weight_files.shutil, "copyfile"), (EditRecord, "save")):
        with monkeypatch.context() as patch:
            patch.setattr(module, function, full)
            assert "No space left on device" in refused("revert", model, "--edit", 1)
        assert contents(model) == before
    done("revert", model, "--edit", 1)


def test_a_reversal_that_was_interrupted_is_named_and_finished(
    base: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Path(shutil.copytree(base, tmp_path / "other"))
    apply(other, 1)
    apply(model, 0, 1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(weight_files, "rename", killed)
        assert run("revert", model, "--edit", 1).exit_code == 130
    assert list((model / KEPT).glob(f"*{UNFINISHED}"))
    for command in (("log", model), ("verify", model)):
        assert "is in progress or was interrupted" in refused(*command)
    done("revert", model, "--edit", 1)
    assert weights(model) == weights(other)
    assert [line.id for line in read_ledger(model)] == [2]


def test_the_ledger_lists_what_is_known_and_no_more(model: Path) -> None:
    apply(model, 0)
    text = done("log", model)
    assert "editor unknown: grade unknown" in text
    assert "facts unknown (case 0 of delta-0.safetensors)" in text
    (line,) = json.loads(done("log", model, "--json"))
    assert (line["facts"], line["editor"], line["verdict"]) == (None, None, None)
    assert line["weights"] == [KEY, KEY.replace(".0.", ".2.")]
    assert line["versions"]["torch"] == torch.__version__
    assert line["before"] != line["after"]


def test_the_ledger_of_an_earlier_version_is_read(model: Path) -> None:
    apply(model, 0, 1)
    places = stored_weights(model)
    for file in applied(model):
        known = read_record(file)
        EditRecord(file, known.old, known.written, about={"delta": "d", "case": 3}).save(places)
    assert "weights unknown → unknown" in done("log", model)
    done("verify", model)
    assert "an earlier editcore applied it" in refused("revert", model, "--edit", 1)
    tensors = load_file(shard(model))
    save_file({**tensors, KEY: tensors[KEY] + 1}, shard(model), {"format": "pt"})
    assert run("verify", model).exit_code == 3


@pytest.mark.parametrize("harm", [name for name in RECORDS if "flipped" not in name])
def test_a_damaged_ledger_names_its_line(model: Path, harm: str) -> None:
    apply(model, 0)
    RECORDS[harm](model)
    before = contents(model)
    for command in ("log", "verify"):
        assert "0001.safetensors" in refused(command, model)
    assert contents(model) == before


def test_a_line_that_is_no_ledger_s_is_damaged(model: Path) -> None:
    apply(model, 0)
    known = read_record(record(model))
    wrong: dict[str, Any] = {**known.about, "origin": {"facts": 3}}
    EditRecord(record(model), known.old, known.written, about=wrong).save(stored_weights(model))
    assert "0001.safetensors" in refused("log", model)


def test_other_changes_of_the_weights_are_named(model: Path) -> None:
    apply(model, 0)
    file, name = shard(model), "transformer.h.0.ln_1.weight"
    tensors = load_file(file)
    save_file({**tensors, name: tensors[name] + 1}, file, {"format": "pt"})
    result = run("verify", model)
    assert result.exit_code == 3
    assert f"the weights are not those that edit 1 left: {name}\n" in result.output
    apply(model, 1)
    data = run("verify", model, "--json")
    assert data.exit_code == 3
    sentence = f"edit 2 began with other weights than edit 1 had left: {name}"
    assert json.loads(data.output)["differs"] == [sentence]


def test_the_ledger_is_copied_with_the_folder(model: Path, tmp_path: Path) -> None:
    apply(model, 0)
    moved = Path(shutil.copytree(model, tmp_path / "moved"))
    assert done("log", moved) == done("log", model)
    done("verify", moved)
