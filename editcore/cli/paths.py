"""The types of the commands' files and folders."""

import os
from pathlib import Path
from typing import Any

import click


class OutPath(click.Path):
    """A file or folder to write, refused before the work if it could not be written after it."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """The path; a usage error if it or a folder above it cannot be made."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if flaw := _flaw(path.absolute(), is_folder=self.dir_okay):
            self.fail(f"{path} cannot be written: {flaw}; choose another", param, ctx)
        return path


FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
OUT_FILE = OutPath(path_type=Path, dir_okay=False)
OUT_FOLDER = OutPath(path_type=Path, file_okay=False)


def _flaw(path: Path, *, is_folder: bool) -> str:
    """Why a path cannot be written; empty if it can. A file is written next to it, then moved."""
    place = _nearest(path if is_folder else path.parent)
    if not place.is_dir():
        return f"{place} is a file"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} is not yours to write to"


def _nearest(path: Path) -> Path:
    """The path, or the deepest folder above it that exists; `OSError` if the path is invalid."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _nearest(path.parent)
    return path
