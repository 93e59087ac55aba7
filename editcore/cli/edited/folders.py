"""The commands on the edits in a model's folder: apply, revert, list and verify them."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FOLDER, OUT_FOLDER
from editcore.cli.steps import say
from editcore.errors import DataError, ModelError

if TYPE_CHECKING:
    from editcore.updates.saved.ledger import Line

PATH = click.Path(path_type=Path)
DIFFERS = 3  # the exit status of `verify`


@click.command(
    short_help="Write a weight change into a model's folder.",
    epilog=examples(
        "editcore apply edit/delta.safetensors path/to/model --out path/to/edited",
        "editcore apply edit path/to/model --in-place",
    ),
)
@click.argument("delta", type=PATH)
@click.argument("model")
@click.option(
    "--out", type=OUT_FOLDER, help="Copy the model to this new folder and change the copy."
)
@click.option("--in-place", is_flag=True, help="Change the model's own files.")
@click.option("--case", type=int, help="Which case of DELTA; needed if it contains several.")
def apply(delta: Path, model: str, out: Path | None, in_place: bool, case: int | None) -> None:
    """Add DELTA, as `check --save`, `guard` or a study wrote it, to the weights of MODEL.

    MODEL is a folder or, with --out, a bundled name or a .gguf file. The original content is kept
    in the folder editcore-applied, and `editcore revert` puts it back byte by byte.
    """
    from editcore.updates.saved import weight_files

    folder = folder_to_edit(model, out, in_place)
    file = delta_file(delta)
    chosen = case_of(file, case)
    # Imported after all checks, because importing torch takes seconds.
    from editcore.updates.delta import factor_bytes, load_deltas
    from editcore.updates.saved.origin import entry, origin_of
    from editcore.updates.saved.weight_change import new_weights

    change = load_deltas(file, {chosen})[chosen]
    new, factors = partial(new_weights, change), factor_bytes(change)
    about = entry(file, chosen, origin_of(file, chosen, change))
    if out is None:
        kept = weight_files.change_in_place(new, folder, about, factors)
    else:
        kept = weight_files.edited_copy(new, folder, out, about, factors)
    click.echo(f"{out or folder} has been edited; the original bytes are in {kept}")


def delta_file(delta: Path) -> Path:
    """The file of deltas at a path, or in the folder there, complete after a kill."""
    from editcore.atomic import finish_moves

    file = delta / "delta.safetensors" if delta.is_dir() else delta
    finish_moves(file.parent)
    return file


def folder_to_edit(model: str, out: Path | None, in_place: bool = False) -> Path:
    """The model's folder, after checking that it may be changed as asked for."""
    from editcore.atomic import refuse_existing
    from editcore.datasets.bundled import bundled_models
    from editcore.planning.preflight import model_files
    from editcore.sources.places import gguf_file
    from editcore.updates.saved.edit_record import unfinished
    from editcore.updates.saved.weight_files import refuse_inside

    if (out is None) == (not in_place):
        raise ModelError("give either --out FOLDER for an edited copy, or --in-place")
    if in_place and model in bundled_models():
        raise ModelError(
            f"{model} is a bundled model, which is shared; give --out FOLDER for an edited copy"
        )
    if gguf_file(model) is not None and out is None:
        raise ModelError(
            f"{model}: a .gguf file cannot be changed in place; give --out FOLDER for an edited "
            "copy"
        )
    folder = folder_of(model)
    if out is not None:
        refuse_existing(out)
        refuse_inside(out, folder)
    if out is not None or unfinished(folder) is None:  # a change in place reverts an unfinished one
        model_files(str(folder))
    return folder


def folder_of(model: str) -> Path:
    """The folder of a model on this machine; `ModelError` if it is not here."""
    from editcore.datasets.bundled import model_folder
    from editcore.sources.places import gguf_file

    gguf = gguf_file(model)
    folder = _converted(gguf) if gguf is not None else model_folder(model)
    if folder is None:
        raise ModelError(
            f"{model!r} is not a folder; give a model's folder, or download it first (`hf "
            "download`)"
        )
    return folder


def _converted(gguf: Path) -> Path:
    """The folder that a GGUF file's model is loaded from."""
    from editcore.models.gguf import converted  # torch, which other models do without here

    return converted(gguf)


def case_of(file: Path, case: int | None) -> int:
    """The case asked for, or the only one."""
    from editcore.updates.delta_cases import cases_in

    found = cases_in(file)
    if not found:
        raise DataError(
            f"{file} contains no weight change: its edits failed, or their editor changes no "
            "weights; give another file"
        )
    some = ", ".join([*map(str, found[:8]), *(["…"] if len(found) > 8 else [])])
    if case is None and len(found) != 1:
        raise DataError(f"{file} contains {len(found)} changes; choose one with --case: {some}")
    chosen = found[0] if case is None else case
    if chosen not in found:
        raise DataError(f"{file} contains no change of case {chosen}; it has {some}")
    return chosen


@click.command(
    short_help="Revert a weight change in a model's folder.",
    epilog=examples(
        "editcore revert path/to/edited",
        "editcore revert path/to/edited --edit 4",
        "editcore revert path/to/edited --all",
    ),
)
@click.argument("folder", type=FOLDER)
@click.option("--all", "everything", is_flag=True, help="Revert every change, newest first.")
@click.option("--edit", type=int, metavar="ID", help="Revert this edit (see `editcore log`).")
def revert(folder: Path, everything: bool, edit: int | None) -> None:
    """Put back the bytes that `editcore apply` replaced in the model in FOLDER.

    By default, the latest change is reverted. With --edit, the weights become byte by byte what the
    other edits make, in their order, without this one. It and all later ones must be low-rank,
    unless it is the latest. A change that was interrupted is reverted first, and a reversal that
    was interrupted is finished.
    """
    from editcore.updates.saved.edit_record import applied
    from editcore.updates.saved.weight_files import revert as take_out
    from editcore.updates.saved.weight_files import revert_edit

    if everything and edit is not None:
        raise ModelError("give either --all or --edit ID")
    if edit is not None:
        revert_edit(folder, edit)
    else:
        take_out(folder)
    count = 1
    while everything and applied(folder):
        take_out(folder)
        count += 1
    left = len(applied(folder))
    click.echo(f"{folder}: {count} reverted, {left} still applied")


@click.command(
    short_help="List the edits in a model's folder.",
    epilog=examples("editcore log path/to/edited", "editcore log path/to/edited --json"),
)
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def log(folder: Path, as_json: bool) -> None:
    """List the edits that the model in FOLDER carries, oldest first, with their grades.

    Each has an id, the facts, the editor, when it was applied, and the SHA-256 of the model's
    weights before and after it. What the delta and the files next to it did not contain is unknown.

    Exit status: 0, or 2 if there are no edits or a record of one is damaged.
    """
    from editcore.updates.saved.ledger import page

    lines = _lines(folder)
    as_data = [line.as_dict() for line in lines]
    click.echo(json.dumps(as_data, indent=2) if as_json else page(lines))


@click.command(
    short_help="Compare a model's weights with its ledger of edits.",
    epilog=examples("editcore verify path/to/edited", "editcore verify path/to/edited --grade"),
)
@click.argument("folder", type=FOLDER)
@click.option(
    "--grade", is_flag=True, help="Also grade the model against its unedited weights again."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(folder: Path, grade: bool, as_json: bool) -> None:
    """Check that the weights in FOLDER are those that its recorded edits left.

    Each edit must begin with the weights that the one before it left, and the files must have those
    of the last one. With --grade, the model is measured against its unedited weights, on the texts
    of the recorded grade, and its grade is compared with the worst one recorded.

    Exit status: 0 if all of this agrees, 3 if something differs, 2 after an error.
    """
    from editcore.updates.saved.ledger import disagreements

    lines = _lines(folder)
    found = disagreements(folder, lines)
    result: dict[str, object] = {"edits": len(lines), "sha256": lines[-1].after, "differs": found}
    sentences = found or [f"the weights are those that edit {lines[-1].id} left"]
    differs = bool(found)
    if grade:
        from editcore.runs.adhoc.edited.regrade import regrade

        graded = regrade(folder, lines, say)
        result["grade"] = graded.as_dict()
        sentences.append(str(graded))
        differs = differs or graded.differs
    click.echo(
        json.dumps(result, indent=2)
        if as_json
        else "\n".join(f"{folder}: {sentence}" for sentence in sentences)
    )
    if differs:
        raise click.exceptions.Exit(DIFFERS)


def _lines(folder: Path) -> "list[Line]":
    """The folder's ledger; `ModelError` if it is empty."""
    from editcore.updates.saved.ledger import read_ledger

    if not (lines := read_ledger(folder)):
        raise ModelError(f"{folder}: editcore has applied nothing here, so there are no edits")
    return lines
