"""Writes files and folders atomically: complete or not at all, even if the process is killed."""

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from editcore.errors import EditcoreError, reason

if TYPE_CHECKING:
    import torch

LOCK = ".editcore.lock"
PARTIAL = ".editcore.partial"
# Complete files that are about to move into the parent folder.
COMPLETE = ".editcore.complete"
# Longer than it takes to copy the largest models; after that, the other process is stuck.
WAIT_SECONDS = 1800.0

log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` only if the block succeeds.

    With `durable`, the file is synced to disk before it gets its name, so that a power failure
    cannot leave it empty. Raises `EditcoreError` if the folder cannot be written or the disk is
    full.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with _writing(path):
            if irregular(path):
                raise EditcoreError(
                    f"{path} cannot be written: it is a device, not a file; choose another"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            if durable:
                _sync(partial)
            os.replace(partial, path)
            if durable:
                _sync_names(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; it is renamed to `path` only if the block succeeds.

    Raises `EditcoreError` if `path` exists or cannot be written. Leftovers of a killed run are
    removed; if two processes do this at once, the second waits.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}{LOCK}"), path):
        refuse_existing(path)
        with _filled(partial, path):
            yield partial
            for file in partial.rglob("*"):
                _sync(file)
            os.rename(partial, path)
            _sync_names(path.parent)


@contextmanager
def together(folder: Path, *names: str) -> Iterator[Path]:
    """Yield a temporary folder for the files `names`, which then move into `folder` together.

    After a kill, either the old files or the new ones are used. New ones that had not moved yet are
    moved by the next `together` or `finish_moves`. Old and new files are never mixed. If two
    processes do this at once, the second waits.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK, folder):
        _move(folder)
        with _filled(folder / PARTIAL, folder) as partial:
            yield partial
            for name in names:
                _sync(partial / name)
            os.rename(partial, folder / COMPLETE)
            _sync_names(folder)
            _move(folder)


def finish_moves(folder: Path) -> None:
    """Move files into a folder that a killed `together` had completed but not moved.

    Raises `EditcoreError` if there are such files and the folder cannot be written.
    """
    if (folder / COMPLETE).is_dir():
        with locked(folder / LOCK, folder):
            _move(folder)


@contextmanager
def locked(file: Path, what: Path, seconds: float | None = None) -> Iterator[None]:
    """A block that holds the lock `file`, which exists only meanwhile; other processes wait.

    Waits for at most `seconds` (half an hour by default), then raises `EditcoreError`. The system
    releases the lock of a killed process.
    """
    # Imported late: only commands that write need it, and every command imports this module.
    from filelock import FileLock, Timeout

    seconds = WAIT_SECONDS if seconds is None else seconds
    lock = FileLock(file)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.warning("another editcore is writing to %s; waiting for it", what)
            lock.acquire(timeout=seconds)
    except Timeout:
        raise EditcoreError(
            f"another editcore has been writing to {what} for {seconds:.0f} seconds; "
            "wait for it to finish, or stop it, and run this again"
        ) from None
    except OSError as error:
        raise EditcoreError(
            f"{what} cannot be locked ({reason(error)}); make its folder writable, "
            "or choose another"
        ) from error
    try:
        yield
    finally:
        # Removed while still held: a waiting process finds it gone and locks a new file.
        file.unlink(missing_ok=True)
        lock.release()


def rename(path: Path, name: str) -> Path:
    """Rename a file within its folder and sync the folder; returns the new path."""
    moved = path.with_name(name)
    with _writing(moved):
        os.replace(path, moved)
    _sync_names(path.parent)
    return moved


def irregular(path: Path) -> bool:
    """Whether something is at `path` that is no file and no folder, such as `/dev/null`.

    Root could replace it by a file, for every program of the system.
    """
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_existing(path: Path) -> None:
    """Raise `EditcoreError` if `path` exists, even as a dangling link."""
    if os.path.lexists(path):
        raise EditcoreError(f"{path} already exists; give the name of a new folder, or remove it")


def _move(folder: Path) -> None:
    """Move the complete files; the caller holds the lock. Old and new files are never mixed."""
    complete = folder / COMPLETE
    if not complete.is_dir():
        return
    with _writing(folder):
        names = sorted(file.name for file in complete.iterdir())
        for name in names[1:]:
            (folder / name).unlink(missing_ok=True)
        _sync_names(folder)
        for name in names:
            os.replace(complete / name, folder / name)
        complete.rmdir()
    _sync_names(folder)


@contextmanager
def _filled(partial: Path, path: Path) -> Iterator[Path]:
    """A folder that is empty at first and removed at the end; the caller holds the lock."""
    try:
        with _writing(path):
            if partial.exists():
                shutil.rmtree(partial)
            partial.mkdir()
            yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EditcoreError(
            f"{path} cannot be written ({error.strerror or error}); free space or choose another"
        ) from error


def _sync_names(folder: Path) -> None:
    """Sync a folder's entries to disk, unless its file system cannot (some network ones)."""
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, but without a sync: there are thousands of job files."""
    with replacing(path, durable=False) as partial:
        partial.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, tensors: "Mapping[str, torch.Tensor]", metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file atomically; equal content gives equal bytes."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with replacing(path) as partial:
        try:
            save_file(whole, partial, metadata=dict(metadata))
        except SafetensorError as error:  # raised if the disk is full
            raise OSError(str(error)) from error
        sort_metadata(partial)


def sort_metadata(path: Path) -> None:
    """Sort the metadata of a safetensors file, which the library writes in a random order.

    The header is JSON after its length in eight bytes, and may end in spaces.
    """
    with path.open("r+b") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(length)
        assert len(text) == length, "the order of keys changes no length"
        file.seek(8)
        file.write(text)
