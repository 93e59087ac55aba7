"""The commands that write a weight change to a model's folder, and revert it."""

from functools import partial
from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FOLDER, OUT_FOLDER
from editcore.errors import DataError, ModelError

PATH = click.Path(path_type=Path)


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
    from editcore.atomic import finish_moves
    from editcore.updates import weight_files

    folder = _model(model, out, in_place)
    file = delta / "delta.safetensors" if delta.is_dir() else delta
    finish_moves(file.parent)
    chosen = _case(file, case)
    # Imported after all checks, because importing torch takes seconds.
    from editcore.updates.delta import load_deltas
    from editcore.updates.weight_change import new_weights

    new = partial(new_weights, load_deltas(file, {chosen})[chosen])
    about = {"delta": file.name, "case": chosen}
    if out is None:
        kept = weight_files.change_in_place(new, folder, about)
    else:
        kept = weight_files.edited_copy(new, folder, out, about)
    click.echo(f"{out or folder} has been edited; the original bytes are in {kept}")


def _model(model: str, out: Path | None, in_place: bool) -> Path:
    """The model's folder, after checking that it may be changed as asked for."""
    from editcore.atomic import refuse_existing
    from editcore.datasets.bundled import bundled_models, model_folder
    from editcore.planning.preflight import model_files
    from editcore.sources.places import gguf_file
    from editcore.updates.edit_record import unfinished
    from editcore.updates.weight_files import refuse_inside

    if (out is None) == (not in_place):
        raise ModelError("give either --out FOLDER for an edited copy, or --in-place")
    if in_place and model in bundled_models():
        raise ModelError(
            f"{model} is a bundled model, which is shared; give --out FOLDER for an edited copy"
        )
    gguf = gguf_file(model)
    if gguf is not None and out is None:
        raise ModelError(
            f"{model}: a .gguf file cannot be changed in place; give --out FOLDER for an edited "
            "copy"
        )
    folder = _converted(gguf) if gguf is not None else model_folder(model)
    if folder is None:
        raise ModelError(
            f"{model!r} is not a folder; give a model's folder, or download it first (`hf "
            "download`)"
        )
    if out is not None:
        refuse_existing(out)
        refuse_inside(out, folder)
    if out is not None or unfinished(folder) is None:  # a change in place reverts an unfinished one
        model_files(str(folder))
    return folder


def _converted(gguf: Path) -> Path:
    """The folder that a GGUF file's model is loaded from."""
    from editcore.models.gguf import converted  # torch, which other models do without here

    return converted(gguf)


def _case(file: Path, case: int | None) -> int:
    """The case asked for, or the only one."""
    from editcore.updates.delta_cases import cases_in

    found = cases_in(file)
    some = ", ".join([*map(str, found[:8]), *(["…"] if len(found) > 8 else [])])
    if case is None and len(found) != 1:
        raise DataError(f"{file} contains {len(found)} changes; choose one with --case: {some}")
    chosen = found[0] if case is None else case
    if chosen not in found:
        raise DataError(f"{file} contains no change of case {chosen}; it has {some}")
    return chosen


@click.command(
    short_help="Revert the latest weight change in a model's folder.",
    epilog=examples("editcore revert path/to/edited", "editcore revert path/to/edited --all"),
)
@click.argument("folder", type=FOLDER)
@click.option("--all", "everything", is_flag=True, help="Revert every change, newest first.")
def revert(folder: Path, everything: bool) -> None:
    """Put back the bytes that `editcore apply` replaced in the model in FOLDER.

    A change that was interrupted is reverted first.
    """
    from editcore.updates.edit_record import applied
    from editcore.updates.weight_files import revert as take_out

    take_out(folder)
    count = 1
    while everything and applied(folder):
        take_out(folder)
        count += 1
    left = len(applied(folder))
    click.echo(f"{folder}: {count} reverted, {left} still applied")
