"""The commands that put a weight change into a model's folder, and take it out again."""

from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.errors import DataError, ModelError

PATH = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(
    short_help="Put a weight change into a model's folder.",
    epilog=examples(
        "editcore apply edit/delta.safetensors path/to/model --out path/to/edited",
        "editcore apply edit path/to/model --in-place",
    ),
)
@click.argument("delta", type=PATH)
@click.argument("model")
@click.option("--out", type=FOLDER, help="Copy the model to this new folder and change the copy.")
@click.option("--in-place", is_flag=True, help="Change the model's own files.")
@click.option("--case", type=int, help="Which case of DELTA; needed where it holds several.")
def apply(delta: Path, model: str, out: Path | None, in_place: bool, case: int | None) -> None:
    """Add DELTA, as `check --save`, `guard` or a study wrote it, to the weights of MODEL.

    MODEL is a folder or, with --out, a bundled name. The original content is kept in the folder
    editcore-applied, and `editcore revert` puts it back byte by byte.
    """
    from editcore.datasets.bundled import bundled_models, model_folder

    if (out is None) == (not in_place):
        raise ModelError("give either --out FOLDER for an edited copy, or --in-place")
    if in_place and model in bundled_models():
        raise ModelError(f"{model} is a bundled model, which others use too; give --out FOLDER")
    folder = model_folder(model)
    if folder is None:
        raise ModelError(f"{model!r} is no folder; download the model first (`hf download`)")
    from editcore.updates import weight_files
    from editcore.updates.delta import load_deltas

    file = delta / "delta.safetensors" if delta.is_dir() else delta
    found = load_deltas(file)
    if case is None and len(found) != 1:
        some = ", ".join(map(str, list(found)[:8]))
        raise DataError(f"{file} holds {len(found)} changes; name one with --case: {some} …")
    chosen = next(iter(found)) if case is None else case
    if chosen not in found:
        raise DataError(f"{file} holds no change of case {chosen}")
    if out is not None:
        weight_files.copied(folder, out)
        folder = out
    kept = weight_files.apply(found[chosen], folder, {"delta": file.name, "case": chosen})
    click.echo(f"{folder} is edited; {kept} keeps the original bytes")


@click.command(
    short_help="Take the newest weight change out of a model's folder.",
    epilog=examples("editcore revert path/to/edited", "editcore revert path/to/edited --all"),
)
@click.argument("folder", type=FOLDER)
@click.option("--all", "everything", is_flag=True, help="Take out every change, the newest first.")
def revert(folder: Path, everything: bool) -> None:
    """Put back the bytes that `editcore apply` replaced in the model in FOLDER."""
    from editcore.updates import weight_files

    weight_files.revert(folder)
    count = 1
    while everything and weight_files.applied(folder):
        weight_files.revert(folder)
        count += 1
    left = len(weight_files.applied(folder))
    click.echo(f"{folder}: {count} taken out, {left} still applied")
