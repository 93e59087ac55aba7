"""A change in a model's files is made whole or not at all, and comes out byte by byte."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

from editcore import atomic
from editcore.cli import main
from editcore.errors import ModelError
from editcore.models.loading import LoadedModel, load_model
from editcore.planning.preflight import model_files
from editcore.updates.delta import Delta, LowRankUpdate, load_deltas, save_deltas
from editcore.updates.saved import weight_files
from editcore.updates.saved.edit_record import applied
from editcore.updates.saved.weight_change import new_weights
from tests.model_folders import (
    KEPT,
    KEY,
    MODELS,
    RECORDS,
    contents,
    record,
    shard,
    sharded,
    write_delta,
)

ModelSaver = Callable[..., Path]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sharded(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture
def model(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "model"))


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    return write_delta(tmp_path / "delta.safetensors")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """The one plain error that a command ended with."""
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 2, result.output
    assert result.output.startswith("editcore: error: "), result.output
    return result.output


@pytest.mark.parametrize("harm", MODELS)
@pytest.mark.parametrize("way", ["in place", "copy"])
def test_a_damaged_folder_is_one_plain_error(
    model: Path, delta: Path, tmp_path: Path, harm: str, way: str
) -> None:
    MODELS[harm](model)
    before = contents(model)
    out = tmp_path / "out"
    where = ["--in-place"] if way == "in place" else ["--out", out]
    assert str(model) in refused(run("apply", delta, model, *where))
    assert contents(model) == before
    assert not out.exists()


@pytest.mark.parametrize("harm", RECORDS)
def test_a_damaged_record_is_one_plain_error(model: Path, delta: Path, harm: str) -> None:
    assert run("apply", delta, model, "--in-place").exit_code == 0
    RECORDS[harm](model)
    before = contents(model)
    assert "0001.safetensors" in refused(run("revert", model))
    assert contents(model) == before


@pytest.mark.parametrize("way", ["in place", "copy"])
@pytest.mark.parametrize(
    ("size", "width", "words"),
    [
        (float("nan"), 32, "not finite"),
        (float("inf"), 32, "not finite"),
        (3e38, 32, "not finite"),
        (1.0, 48, "has shape (48, 64)"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_before_anything_is_written(
    model: Path, tmp_path: Path, way: str, size: float, width: int, words: str
) -> None:
    change = write_delta(tmp_path / "other.safetensors", size=size, width=width)
    before, out = contents(model), tmp_path / "out"
    where = ["--in-place"] if way == "in place" else ["--out", out]
    assert words in refused(run("apply", change, model, *where))
    assert contents(model) == before
    assert sorted(tmp_path.iterdir()) == sorted([model, change])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{delta}", "nowhere/model", "--out", "out"], "'nowhere/model' is not a folder; give"),
        (["{delta}", "./nowhere", "--in-place"], "there is no model folder './nowhere'. Give an"),
        (
            ["nowhere.safetensors", "{model}", "--out", "out"],
            "there is no file nowhere.safetensors",
        ),
        (["nowhere", "{model}", "--in-place"], "there is no file nowhere; give a file that"),
        (["{model}", "{model}", "--out", "out"], "there is no file"),
        (["{delta}", "{model}", "--out", "{model}"], "already exists"),
        (["{delta}", "{model}", "--out", "{model}/in"], "is inside"),
        (["{delta}", "{empty}", "--in-place"], "model folder {empty} has no config.json"),
        (["{delta}", "{empty}", "--out", "out"], "model folder {empty} has no config.json"),
        (["{delta}", "{model}", "--in-place", "--case", "9"], "contains no change of case 9"),
        (["{model}/config.json", "{model}", "--in-place"], "contains no tensors"),
        (["{delta}", "{model}"], "give either --out FOLDER"),
    ],
)
def test_arguments_are_checked_before_torch_is_imported(
    model: Path, delta: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    (empty := tmp_path / "empty").mkdir()
    names = {"model": model, "delta": delta, "empty": empty}
    given = [argument.format(**names) for argument in arguments]
    code = (
        "import sys; from editcore.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "apply", *given],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert words.format(**names) in done.stderr
    assert done.stdout.split() == ["False"]
    assert sorted(tmp_path.iterdir()) == sorted([model, delta, empty])


def test_links_to_shared_weights_are_not_replaced(model: Path, delta: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for file in model.iterdir():
        (snapshot / file.name).symlink_to(file)
    before = contents(model)
    message = refused(run("apply", delta, snapshot, "--in-place"))
    assert "is a link to" in message
    assert "--out" in message
    assert all(file.is_symlink() for file in snapshot.iterdir())
    assert run("apply", delta, snapshot, "--out", tmp_path / "out").exit_code == 0
    assert not any(file.is_symlink() for file in (tmp_path / "out").rglob("*"))
    assert contents(model) == before


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_two_changes_are_reverted_byte_by_byte(
    kind: str, tmp_path: Path, saved_model: ModelSaver
) -> None:
    source, edited = saved_model(kind), tmp_path / "edited"
    shutil.copytree(source, edited)
    model = load_model(kind, str(source))
    name = model.parts.down_weight(1)
    d_out, d_in = model.model.config.hidden_size, _width(model, name)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        factors = (torch.randn(n, 1, generator=generator) for n in (d_out, d_in))
        new = partial(new_weights, Delta({name: LowRankUpdate(*factors)}))
        weight_files.change_in_place(new, edited, {})
    assert len(applied(edited)) == 2
    result = run("revert", edited, "--all")
    assert result.exit_code == 0, result.output
    assert "2 reverted, 0 still applied" in result.output
    assert contents(edited) == contents(source)
    with pytest.raises(ModelError, match="editcore has applied nothing here"):
        weight_files.revert(edited)


def _width(model: LoadedModel, name: str) -> int:
    return int(model.model.get_parameter(name).numel() // model.model.config.hidden_size)


def test_weights_that_others_changed_are_not_reverted(model: Path, delta: Path) -> None:
    assert run("apply", delta, model, "--in-place").exit_code == 0
    file = shard(model)
    tensors = load_file(file)
    save_file({**tensors, KEY: tensors[KEY] + 1}, file, {"format": "pt"})
    before = contents(model)
    assert "no longer what editcore wrote" in refused(run("revert", model))
    assert contents(model) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_kind_are_added_in_that_kind_and_put_back(
    tmp_path: Path, saved_model: ModelSaver, dtype: torch.dtype
) -> None:
    model = Path(shutil.copytree(saved_model("gpt2"), tmp_path / "model"))
    file = model / "model.safetensors"
    tensors = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})
    before = contents(model)
    change = write_delta(tmp_path / "delta.safetensors")
    assert run("apply", change, model, "--in-place").exit_code == 0
    (added,) = load_deltas(change).values()
    for name, tensor in load_file(file).items():
        update = added.updates.get(name)
        expected = tensors[name] if update is None else tensors[name] + update.dense().T.to(dtype)
        assert torch.equal(tensor, expected), name
    assert run("revert", model).exit_code == 0
    assert contents(model) == before


def test_a_change_that_fails_half_way_is_put_back(
    model: Path, delta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(model)
    replace, weights = os.replace, []

    def second_fails(source: Path, target: Path) -> None:
        if Path(target).name.startswith("model-"):
            weights.append(target)
            if len(weights) == 2:
                raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", second_fails)
    assert "Input/output error" in refused(run("apply", delta, model, "--in-place"))
    assert len(weights) == 3, "one replaced, one refused, the first put back"
    assert contents(model) == before
    assert not (model / KEPT).exists()


def test_a_copy_that_fails_half_way_does_not_appear(
    model: Path, delta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, replace, weights = contents(model), os.replace, []

    def full(source: Path, target: Path) -> None:
        if Path(target).name.startswith("model-"):
            weights.append(target)
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    out = tmp_path / "out"
    assert "No space left on device" in refused(run("apply", delta, model, "--out", out))
    assert weights
    assert contents(model) == before
    assert sorted(tmp_path.iterdir()) == sorted([model, delta])


@pytest.mark.parametrize("way", ["in place", "copy"])
def test_a_delta_of_another_kind_of_model_changes_and_leaves_nothing(
    model: Path, tmp_path: Path, way: str
) -> None:
    name = "model.layers.1.mlp.down_proj.weight"
    change = tmp_path / "llama.safetensors"
    save_deltas({0: Delta({name: LowRankUpdate(torch.ones(32, 1), torch.ones(64, 1))})}, change, {})
    before, out = contents(model), tmp_path / "out"
    where = ["--in-place"] if way == "in place" else ["--out", out]
    message = refused(run("apply", change, model, *where))
    assert f"names {name}, which the model does not have" in message
    assert contents(model) == before
    assert sorted(tmp_path.iterdir()) == sorted([model, change])


def test_a_folder_named_by_a_link_is_edited_and_the_link_stays(
    base: Path, model: Path, delta: Path
) -> None:
    link = model.with_name("link")
    link.symlink_to(model)
    assert run("apply", delta, link, "--in-place").exit_code == 0
    assert link.is_symlink()
    assert shard(model).read_bytes() != shard(base).read_bytes()
    assert run("revert", link).exit_code == 0
    assert link.is_symlink()
    assert contents(model) == contents(base)


@pytest.fixture
def interrupted(model: Path, delta: Path) -> Path:
    """A model of which one file is new and the others old, as a kill may leave it."""
    old = {name: content for name, content in contents(model).items() if "-of-" in name}
    assert run("apply", delta, model, "--in-place").exit_code == 0
    kept = record(model)
    kept.rename(kept.with_name(f"{kept.name}.unfinished"))
    name = shard(model).name
    assert (model / name).read_bytes() != old[name]
    (model / name).write_bytes(old[name])
    (model / f".{name}.123.partial").write_bytes(b"half")
    return model


def test_an_interrupted_change_is_named_by_every_command_that_reads_the_model(
    interrupted: Path, delta: Path, tmp_path: Path
) -> None:
    message = refused(run("apply", delta, interrupted, "--out", tmp_path / "out"))
    assert "is in progress or was interrupted" in message
    assert f"editcore revert {interrupted}" in message
    for read in (model_files, partial(load_model, "m")):
        with pytest.raises(ModelError, match="was interrupted"):
            read(str(interrupted))


def test_revert_undoes_an_interrupted_change_and_no_other(base: Path, interrupted: Path) -> None:
    result = run("revert", interrupted)
    assert result.exit_code == 0, result.output
    assert contents(interrupted) == contents(base)


def test_a_change_after_an_interrupted_one_reverts_that_first(
    base: Path, interrupted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_delta(tmp_path / "other.safetensors", seed=1)
    assert run("apply", other, interrupted, "--in-place").exit_code == 0
    assert "an interrupted change was taken out first" in caplog.text
    clean = Path(shutil.copytree(base, tmp_path / "clean"))
    assert run("apply", other, clean, "--in-place").exit_code == 0
    after = [contents(folder) for folder in (interrupted, clean)]
    assert after[0].keys() == after[1].keys()
    assert all(after[0][name] == after[1][name] for name in after[0] if KEPT not in name)


def test_a_delta_that_a_kill_kept_from_moving_is_moved_and_applied(
    base: Path, model: Path, delta: Path, tmp_path: Path
) -> None:
    complete = tmp_path / "guarded" / atomic.COMPLETE
    complete.mkdir(parents=True)
    delta.rename(complete / "delta.safetensors")
    (complete / "guard.parquet").write_bytes(b"rows")
    result = run("apply", complete.parent, model, "--in-place")
    assert result.exit_code == 0, result.output
    assert list(contents(complete.parent)) == ["delta.safetensors", "guard.parquet"]
    assert shard(model).read_bytes() != shard(base).read_bytes()


def test_files_keep_their_permissions(model: Path, delta: Path) -> None:
    file = shard(model)
    file.chmod(0o440)
    assert run("apply", delta, model, "--in-place").exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o440


def test_a_folder_that_another_process_changes_is_waited_for(
    model: Path, delta: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic, "WAIT_SECONDS", 0.1)
    before = contents(model)
    with atomic.locked(model / atomic.LOCK, model):
        for arguments in (
            ("apply", delta, model, "--in-place"),
            ("apply", delta, model, "--out", model.with_name("out")),
            ("revert", model),
        ):
            assert "another editcore has been writing to" in refused(run(*arguments))
    assert contents(model) == before
