"""The types of the commands' files and folders."""

import os
import tempfile
from pathlib import Path
from typing import Any

import click

from editcore.atomic import irregular
from editcore.errors import reason


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
        unnamed = "" if path.name or self.dir_okay else "it has no name"
        if flaw := unnamed or _flaw(path.absolute(), is_folder=self.dir_okay):
            self.fail(f"{path} cannot be written: {flaw}; choose another", param, ctx)
        return path


FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
OUT_FILE = OutPath(path_type=Path, dir_okay=False)
OUT_FOLDER = OutPath(path_type=Path, file_okay=False)


def _flaw(path: Path, *, is_folder: bool) -> str:
    """Why a path cannot be written; empty if it can. A file is written next to it, then moved."""
    if not is_folder and irregular(path):
        return "it is a device, not a file"
    place = _nearest(path if is_folder else path.parent)
    if not place.is_dir():
        return f"{place} is not a folder"
    try:
        # Only a try shows what the system allows: root may write everywhere but in some folders.
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        return f"{place} takes no file ({reason(error)})"
    return ""


def _nearest(path: Path) -> Path:
    """The path, or the deepest folder above it that exists; `OSError` if the path is invalid."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return _nearest(path.parent)
    return path
