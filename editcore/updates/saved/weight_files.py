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
from dataclasses import replace
from pathlib import Path
from typing import Any

from editcore.atomic import LOCK, locked, new_folder, refuse_existing, rename, replacing
from editcore.errors import DataError, ModelError
from editcore.planning import preflight
from editcore.sources.safetensors_header import TensorPlace
from editcore.updates.saved.edit_record import (
    EditRecord,
    applied,
    begin_record,
    digest,
    number_of,
    read_record,
    unfinished,
)
from editcore.updates.saved.stored_weights import stored_weights
from editcore.updates.saved.weight_digests import digests

# Files that a killed run left next to those that it was about to replace.
LEFTOVERS = ".*.safetensors*.partial"
# Records written for an edit that is about to be taken out below them; they move into place once
# the edit's own record is marked as unfinished.
NEXT = ".next"

# Returns the new bytes of some weights of the model in a folder, by their names in its files.
NewWeights = Callable[[Path], Mapping[str, bytes]]
# Completes a copy in a hidden folder, before it gets its name; what it raises prevents that.
Finish = Callable[[Path], None]

log = logging.getLogger(__name__)


def change_in_place(
    make: NewWeights, folder: Path, about: Mapping[str, Any], factors: bytes | None = None
) -> Path:
    """Replace weights in a model's folder; returns the file that keeps the old ones.

    `make` runs while no other process changes the folder. `factors` are those of a low-rank change,
    kept so that it can be made again, and `about` is what else is recorded. Raises `ModelError` if
    the folder is no model, or shares its files with others by links; then, and if `make` raises,
    nothing changes.
    """
    folder = folder.resolve()
    with _alone(folder):
        if (interrupted := unfinished(folder)) is not None:
            _put_back(interrupted, folder)
            log.warning("%s: an interrupted change was taken out first", folder)
        preflight.model_files(str(folder))
        return _replace(folder, make(folder), factors, about)


def edited_copy(
    make: NewWeights,
    source: Path,
    target: Path,
    about: Mapping[str, Any],
    factors: bytes | None = None,
    finish: Finish | None = None,
) -> Path:
    """Copy a model's folder with some weights replaced; returns the file that keeps the old ones.

    `target` appears when everything in it is written and checked, and `finish` has returned. Raises
    `EditcoreError` if it exists already or cannot be written, `ModelError` if the source is not a
    model; then, and if `make` or `finish` raises, it does not appear.
    """
    source = source.resolve()
    refuse_existing(target)
    refuse_inside(target, source)
    with unchanged(source):
        preflight.model_files(str(source))
        new = make(source)
        with new_folder(target) as partial:
            _copy(source, partial)
            kept = _replace(partial, new, factors, about)
            _check(partial, kept)
            if finish is not None:
                finish(partial)
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


def revert_edit(folder: Path, edit: int) -> Path:
    """Revert one edit of a model's folder, as if the others had been made in order without it.

    Returns the file that had kept the old weights. A reversal that was interrupted is finished
    first. Raises `ModelError` for an unknown edit, and for one that cannot be undone exactly
    (`editcore.updates.saved.without_edit`), `DataError` if the weights are no longer what was
    written: then nothing is touched.
    """
    folder = folder.resolve()
    with _alone(folder):
        if (interrupted := unfinished(folder)) is not None:
            finished = _put_back(interrupted, folder)
            if number_of(finished) == edit:
                return finished
        files = applied(folder)
        numbers = [number_of(file) for file in files]
        if edit not in numbers:
            there = f"there are {', '.join(map(str, numbers))}" if numbers else "there are none"
            raise ModelError(f"{folder} carries no edit {edit}; {there} (`editcore log`)")
        place = numbers.index(edit)
        if files[place] == files[-1]:
            return _put_back(files[place], folder)
        # Imported late: reverting the newest edit needs no torch.
        from editcore.updates.saved.without_edit import without

        places = stored_weights(folder)
        reversal = without(folder, files[place:], lambda later: _save_next(later, places))
        return _restore(reversal, folder, lambda: reversal.save(places))


def _save_next(record: EditRecord, places: Mapping[str, TensorPlace]) -> None:
    """Write a record under the name from which it moves into place."""
    replace(record, file=record.file.with_name(f"{record.file.name}{NEXT}")).save(places)


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
        _tidy(folder)
        try:
            yield
        finally:
            _tidy(folder)
            if records.is_dir() and not any(records.iterdir()):
                records.rmdir()


def _tidy(folder: Path) -> None:
    """Remove files that were written for a change which never began."""
    records = folder / preflight.APPLIED
    patterns = (LEFTOVERS, *([f"*{NEXT}"] if unfinished(folder) is None else []))
    for file in (*folder.glob(LEFTOVERS), *(f for each in patterns for f in records.glob(each))):
        file.unlink()


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """A block in which no other process changes the folder; not locked if we cannot write to it."""
    with ExitStack() as stack:
        if os.access(folder, os.W_OK):
            stack.enter_context(locked(folder / LOCK, folder))
        yield


def _replace(
    folder: Path, new: Mapping[str, bytes], factors: bytes | None, about: Mapping[str, Any]
) -> Path:
    """Replace weights, all or none; returns the record of the old ones."""
    places = stored_weights(folder)
    _refuse_links({places[key].file for key in new})
    unchanged = digests({key: place for key, place in places.items() if key not in new})
    try:
        record = begin_record(folder, places, new, factors, {**about, "unchanged": unchanged})
        _overwrite({places[key]: content for key, content in new.items()})
        return record.end().file
    except BaseException:
        if (interrupted := unfinished(folder)) is not None:
            _put_back(interrupted, folder)
        raise


def _put_back(file: Path, folder: Path) -> Path:
    """Put a record's old bytes back, and remove the record; returns its path."""
    record = read_record(file)
    return _restore(record, folder, record.reopen)


def _restore(record: EditRecord, folder: Path, begin: Callable[[], object]) -> Path:
    """Put a record's old bytes back, and remove it; returns its path.

    `begin` marks the record as unfinished. It runs when the new files are written, before the first
    of them takes its place; if anything fails until then, nothing has changed.
    """
    places = stored_weights(folder)
    present = {key: places[key].read() for key in record.old if key in places}
    for key, content in record.old.items():
        if digest(present.get(key, b"")) not in (record.written[key], digest(content)):
            raise DataError(
                f"{folder}: {key} is no longer what editcore wrote; put those weights back, or "
                f"take the old ones out of {record.file.parent} by hand"
            )
    changed = {key: content for key, content in record.old.items() if present[key] != content}
    _refuse_links({places[key].file for key in changed})
    _overwrite({places[key]: content for key, content in changed.items()}, begin)
    for file in sorted(record.file.parent.glob(f"*{NEXT}")):
        rename(file, file.name.removesuffix(NEXT))
    # The mark is removed last.
    finished = record.file.with_name(record.file.name.removesuffix(preflight.UNFINISHED))
    finished.unlink(missing_ok=True)
    marked = record.file.with_name(f"{finished.name}{preflight.UNFINISHED}")
    marked.unlink(missing_ok=True)
    return finished


def _nothing() -> None:
    pass


def _overwrite(
    contents: Mapping[TensorPlace, bytes], begin: Callable[[], object] = _nothing
) -> None:
    """Replace tensors' bytes; no file takes its place before all are written and `begin` ran."""
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
        begin()


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
    ignored = shutil.ignore_patterns(LOCK, LEFTOVERS, f"*{NEXT}")
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
