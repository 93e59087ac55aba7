"""Files and folders are complete or absent, and one process writes at a time."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from editcore import atomic
from editcore.atomic import (
    finish_moves,
    locked,
    new_folder,
    together,
    write_tensors,
    write_text,
)
from editcore.errors import EditcoreError


def test_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    """Named as root would name `/dev/null`, which root may replace."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    link = tmp_path / "link"
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(EditcoreError, match="it is a device, not a file; choose another"):
            write_text(path, "text")
    assert pipe.is_fifo()
    assert sorted(tmp_path.iterdir()) == [link, pipe]


def test_the_same_tensors_are_the_same_bytes(tmp_path: Path) -> None:
    about = {f'key {n} é\n\x01\x7f"': f"{{'value': {n}}}\u2028" for n in range(12)}
    tensors = {name: torch.arange(5.0) for name in ("b", "a", "c")}
    files = [tmp_path / f"{n}.safetensors" for n in range(4)]
    for file in files:
        write_tensors(file, tensors, about)
    assert len({file.read_bytes() for file in files}) == 1
    with safe_open(files[0], framework="pt") as read:
        assert read.metadata() == about
        assert all(torch.equal(read.get_tensor(name), tensors[name]) for name in tensors)


def test_who_waits_for_a_lock_waits_no_longer_than_allowed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock, tmp_path):
        started = time.monotonic()
        with (
            pytest.raises(EditcoreError, match=r"has been writing to .* for 0 seconds; wait"),
            locked(lock, tmp_path, seconds=0.2),
        ):
            pytest.fail("two hold one lock")
        assert 0.2 <= time.monotonic() - started < 10
    assert list(tmp_path.iterdir()) == []


def test_who_waits_gets_the_lock_when_it_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with locked(tmp_path / "lock", tmp_path):
            inside.set()
            time.sleep(0.3)
            held.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait()
    with locked(tmp_path / "lock", tmp_path):
        held.append("second")
    thread.join()
    assert held == ["first", "second"]
    assert "another editcore is writing to" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_holds_no_lock(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from editcore.atomic import locked\n"
        "with locked(Path('lock'), Path()):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)"
    )
    # A new process: a fork of this one could keep the locks of its threads for ever.
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdout=subprocess.PIPE, cwd=tmp_path
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        child.kill()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock", tmp_path, seconds=5):
        pass
    assert not (tmp_path / "lock").exists()


def test_a_lock_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "lock").symlink_to(victim)
    with (
        pytest.raises(EditcoreError, match="cannot be locked"),
        locked(tmp_path / "lock", tmp_path),
    ):
        pytest.fail("locked a link")
    assert victim.read_text() == "mine"


def fill(folder: Path) -> None:
    (folder / "a").write_text("new")
    (folder / "b").write_text("new")


def test_a_new_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "new"
    with new_folder(path) as partial:
        fill(partial)
        assert not path.exists()
    assert sorted(file.name for file in path.iterdir()) == ["a", "b"]
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(EditcoreError, match="already exists"), new_folder(path):
        pytest.fail("wrote over a folder")


def test_a_new_folder_that_fails_leaves_nothing_and_removes_what_kills_have_left(
    tmp_path: Path,
) -> None:
    left = tmp_path / f".new{atomic.PARTIAL}"
    left.mkdir()
    (left / "a").write_text("half")
    with pytest.raises(KeyError), new_folder(tmp_path / "new") as partial:
        assert list(partial.iterdir()) == []
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_a_dangling_link_prevents_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "new").symlink_to("nowhere")
    with pytest.raises(EditcoreError, match="already exists"), new_folder(tmp_path / "new"):
        pytest.fail("wrote through a link")


def test_files_together_leave_other_files_alone(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "b").write_text("old")
    with together(tmp_path, "a", "b") as partial:
        fill(partial)
        assert (tmp_path / "b").read_text() == "old"
    assert texts(tmp_path) == {"a": "new", "b": "new", "other": "mine"}


@pytest.mark.parametrize("fails", ["unlink", "replace"])
def test_an_old_file_never_stays_beside_a_new_one_and_the_move_is_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text("old")
    with pytest.raises(EditcoreError, match="cannot be written"):  # noqa: SIM117
        with together(tmp_path, "a", "b") as partial:
            fill(partial)
            owner = {"unlink": Path, "replace": os}[fails]
            monkeypatch.setattr(owner, fails, refusing(getattr(owner, fails), "b"))
    monkeypatch.undo()
    assert texts(tmp_path) == ({"a": "old", "b": "old"} if fails == "unlink" else {"a": "new"})
    finish_moves(tmp_path)
    assert texts(tmp_path) == {"a": "new", "b": "new"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_the_next_files_together_move_after_those_that_a_kill_kept_from_moving(
    tmp_path: Path,
) -> None:
    complete = tmp_path / atomic.COMPLETE
    complete.mkdir()
    for name in ("b", "c"):
        (complete / name).write_text("earlier")
    with together(tmp_path, "a", "b") as partial:
        assert texts(tmp_path) == {"b": "earlier", "c": "earlier"}
        fill(partial)
    assert texts(tmp_path) == {"a": "new", "b": "new", "c": "earlier"}
    assert not complete.exists()


def test_nothing_is_locked_where_no_move_is_to_be_finished(tmp_path: Path) -> None:
    with locked(tmp_path / atomic.LOCK, tmp_path):
        finish_moves(tmp_path)
        finish_moves(tmp_path / "nowhere")


def texts(folder: Path) -> dict[str, str]:
    """The text of each file in a folder, except hidden ones."""
    return {f.name: f.read_text() for f in folder.iterdir() if not f.name.startswith(".")}


def refusing(call: Callable[..., object], name: str) -> Callable[..., object]:
    """The system call, refusing files with one name."""

    def refuse(path: Path, *rest: object, **more: object) -> object:
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return call(path, *rest, **more)

    return refuse
