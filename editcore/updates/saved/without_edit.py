"""The edits of a model's folder without one of them, as if the others had been made in order.

Sums of floating-point numbers depend on their order, so the edit's change is not subtracted: the
later changes are added again, one by one, to the weights from before it. That this machine adds
them as they were added at first is proved with the edit itself in place: each sum must have the
digest that was recorded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from editcore.errors import ModelError
from editcore.planning.preflight import UNFINISHED
from editcore.updates.delta import from_factor_bytes
from editcore.updates.saved.edit_record import EditRecord, digest, number_of, read_record
from editcore.updates.saved.weight_change import SavedModel

INSTEAD = "revert the newest edits first, until it is the newest (`editcore revert`)"


def without(folder: Path, files: Sequence[Path], save: Callable[[EditRecord], None]) -> EditRecord:
    """A record whose old bytes are the weights to write, so that the first edit is out.

    `files` are the records of an edit and of all later ones; `save` is called with each later
    record as it is then. Raises `ModelError` if an edit is not low-rank or was applied by an
    earlier version, if weights were changed in between, or if this machine adds otherwise than the
    one that applied the edits.
    """
    edit = number_of(files[0])
    cannot = f"{folder}: edit {edit} cannot be reverted alone"
    model, first = SavedModel(folder), read_record(files[0])
    was, now = dict(first.old), dict(first.old)
    for file in files:
        number, record = number_of(file), read_record(file)
        old = dict(record.old)
        if record.factors is None:
            raise ModelError(
                f"{cannot}, since of edit {number} no factors are kept (it is dense, or an earlier "
                f"editcore applied it); {INSTEAD}"
            )
        for key, change in model.changes(from_factor_bytes(record.factors)):
            if key not in was:
                continue
            if was[key] != record.old[key]:
                raise ModelError(
                    f"{cannot}, since {key} was changed by other means before edit {number}; "
                    f"{INSTEAD}"
                )
            was[key] = model.added(key, was[key], change)
            if digest(was[key]) != record.written[key]:
                raise ModelError(
                    f"{cannot}, since this machine adds the change of {key} by edit {number} with "
                    f"other rounding than the one that applied it; use that machine, or {INSTEAD}"
                )
            if number != edit:
                old[key], now[key] = now[key], model.added(key, now[key], change)
        if number != edit:
            save(_renewed(record, old, {key: digest(content) for key, content in now.items()}))
    mark = first.file.with_name(f"{first.file.name}{UNFINISHED}")
    return EditRecord(mark, now, {key: digest(content) for key, content in was.items()})


def _renewed(
    record: EditRecord, old: Mapping[str, bytes], digests: Mapping[str, str]
) -> EditRecord:
    """A later record with other weights before its change, and their digests after it."""
    about = dict(record.about)
    if "unchanged" in about:
        about["unchanged"] = {k: digests.get(k, known) for k, known in about["unchanged"].items()}
    written = {key: digests.get(key, known) for key, known in record.written.items()}
    return replace(record, old=old, written=written, about=about)
