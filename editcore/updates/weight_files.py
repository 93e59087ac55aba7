"""Replaces weights in a saved model's files, and puts them back, each as one step.

Only the bytes of the changed weights are replaced; headers and all other tensors stay. A change
begins with a record of the old bytes, and ends when the record gets its final name. After a kill or
a loss of power in between, the next run finds the record without that name and puts the old bytes
back.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from editcore.atomic import LOCK, locked, new_folder, refuse_existing, replacing
from editcore.errors import DataError, ModelError
from editcore.planning import preflight
from editcore.sources.safetensors_header import TensorPlace
from editcore.updates.edit_record import (
    applied,
    begin_record,
    digest,
    read_record,
    unfinished,
)
from editcore.updates.stored_weights import stored_weights

# Files that a killed run left next to those that it was about to replace.
LEFTOVERS = ".*.safetensors*.partial"

# Returns the new bytes of some weights of the model in a folder, by their names in its files.
NewWeights = Callable[[Path], Mapping[str, bytes]]

log = logging.getLogger(__name__)


def change_in_place(make: NewWeights, folder: Path, about: Mapping[str, Any]) -> Path:
    """Replace weights in a model's folder; returns the file that keeps the old ones.

    `make` runs while no other process changes the folder. Raises `ModelError` if the folder is no
    model, or shares its files with others by links; then, and if `make` raises, nothing changes.
    """
    folder = folder.resolve()
    with _alone(folder):
        if (interrupted := unfinished(folder)) is not None:
            _put_back(interrupted, folder)
            log.warning("%s: an interrupted change was taken out first", folder)
        preflight.model_files(str(folder))
        return _replace(folder, make(folder), about)


def edited_copy(make: NewWeights, source: Path, target: Path, about: Mapping[str, Any]) -> Path:
    """Copy a model's folder with some weights replaced; returns the file that keeps the old ones.

    `target` appears when everything in it is written and checked. Raises `EditcoreError` if it
    exists already or cannot be written, `ModelError` if the source is not a model; then, and if
    `make` raises, it does not appear.
    """
    source = source.resolve()
    refuse_existing(target)
    refuse_inside(target, source)
    with unchanged(source):
        preflight.model_files(str(source))
        new = make(source)
        with new_folder(target) as partial:
            _copy(source, partial)
            kept = _replace(partial, new, about)
            _check(partial, kept)
    return target / kept.relative_to(partial)


def revert(folder: Path) -> Path:
    """Revert an interrupted change of a model's folder, or else the newest one.

    Returns the file that had kept the old weights. Raises `ModelError` if nothing was applied,
    `DataError` if the weights are no longer what was written: then nothing is touched.
    """
    folder = folder.resolve()
    with _alone(folder):
        newest = unfinished(folder) or next(reversed(applied(folder)), None)
        if newest is None:
            raise ModelError(
                f"{folder}: editcore has applied nothing here, so there is nothing to revert"
            )
        return _put_back(newest, folder)


def refuse_inside(target: Path, source: Path) -> None:
    """Raise `ModelError` for a copy inside the folder that is copied."""
    if target.resolve().is_relative_to(source.resolve()):
        raise ModelError(f"{target} is inside {source}; choose a folder outside it for the copy")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """A block in which no other process changes the folder, with leftovers of killed ones gone."""
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; give the folder of a model")
    records = folder / preflight.APPLIED
    with locked(folder / LOCK, folder):
        for file in (*folder.glob(LEFTOVERS), *records.glob(LEFTOVERS)):
            file.unlink()
        try:
            yield
        finally:
            if records.is_dir() and not any(records.iterdir()):
                records.rmdir()


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """A block in which no other process changes the folder; not locked if we cannot write to it."""
    with ExitStack() as stack:
        if os.access(folder, os.W_OK):
            stack.enter_context(locked(folder / LOCK, folder))
        yield


def _replace(folder: Path, new: Mapping[str, bytes], about: Mapping[str, Any]) -> Path:
    """Replace weights, all or none; returns the record of the old ones."""
    places = stored_weights(folder)
    _refuse_links({places[key].file for key in new})
    try:
        record = begin_record(folder, places, new, about)
        _overwrite({places[key]: content for key, content in new.items()})
        return record.end().file
    except BaseException:
        if (interrupted := unfinished(folder)) is not None:
            _put_back(interrupted, folder)
        raise


def _put_back(file: Path, folder: Path) -> Path:
    """Put a record's old bytes back, and remove the record; returns its path."""
    record, places = read_record(file), stored_weights(folder)
    present = {key: places[key].read() for key in record.old if key in places}
    for key, content in record.old.items():
        if digest(present.get(key, b"")) not in (record.written[key], digest(content)):
            raise DataError(
                f"{folder}: {key} is no longer what editcore wrote; put those weights back, or "
                f"take the old ones out of {file} by hand"
            )
    changed = {key: content for key, content in record.old.items() if present[key] != content}
    _refuse_links({places[key].file for key in changed})
    record = record.reopen()
    _overwrite({places[key]: content for key, content in changed.items()})
    record.file.unlink()
    return file


def _overwrite(contents: Mapping[TensorPlace, bytes]) -> None:
    """Replace tensors' bytes; no file takes its place before all are written."""
    with ExitStack() as stack:
        for path in dict.fromkeys(place.file for place in contents):
            partial = stack.enter_context(replacing(path))
            shutil.copyfile(path, partial)
            with partial.open("r+b") as file:
                for place, content in contents.items():
                    if place.file == path:
                        assert len(content) == place.size
                        file.seek(place.start)
                        file.write(content)
            shutil.copymode(path, partial)


def _refuse_links(files: Iterable[Path]) -> None:
    """Raise `ModelError` for a link; the hub's cache, for example, shares files between folders."""
    for file in files:
        if file.is_symlink():
            raise ModelError(
                f"{file} is a link to {file.readlink()}, which other models may share; give --out "
                "FOLDER for an edited copy, or put a copy of the file in the link's place"
            )


def _copy(source: Path, target: Path) -> None:
    """Copy a folder into one that exists, links followed."""
    ignored = shutil.ignore_patterns(LOCK, LEFTOVERS)
    try:
        shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
    except shutil.Error as error:  # lists what could not be copied, each with its reason
        raise ModelError(f"{source} cannot be copied ({error.args[0][0][2]}); repair it") from error


def _check(folder: Path, kept: Path) -> None:
    """Raise `ModelError` unless a copy's files, read again, hold what was to be written."""
    record, places = read_record(kept), stored_weights(folder)
    for key, expected in record.written.items():
        if digest(places[key].read()) != expected:
            raise ModelError(f"{key} was not written whole; check the disk, and try again")
