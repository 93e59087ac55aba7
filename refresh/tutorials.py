"""Runs the notebooks in docs/tutorials and stores their outputs: `python -m refresh.tutorials`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import nbformat
from nbclient import NotebookClient

from refresh.repository import root_option

FOLDER = Path("docs/tutorials")
SECONDS = 300
Notebook = Any  # nbformat has no types


def notebooks(root: Path) -> list[Path]:
    """The files, in alphabetical order."""
    return sorted((root / FOLDER).glob("*.ipynb"))


def read(file: Path) -> Notebook:
    """A notebook with its outputs."""
    return nbformat.read(file, as_version=nbformat.NO_CONVERT)


def executed(file: Path) -> Notebook:
    """A notebook with the outputs of a new run in its own folder, without progress bars.

    Raises the error of a cell.
    """
    notebook = read(file)
    place = {"metadata": {"path": str(file.parent)}}
    how: dict[str, Any] = {"timeout": SECONDS, "kernel_name": "python3", "coalesce_streams": True}
    NotebookClient(notebook, resources=place, **how).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "name": "python3"}}
    return notebook


def texts(notebook: Notebook) -> Iterator[str]:
    """What each code cell shows as plain text."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            yield "".join(map(_text, cell.outputs))


def _text(output: Any) -> str:
    """What one output shows as plain text; nothing for a picture alone."""
    return str(output.get("text", "") or output.get("data", {}).get("text/plain", ""))


@click.command(help=__doc__)
@root_option
def main(root: Path) -> None:
    """Run all notebooks and write them."""
    for file in notebooks(root):
        nbformat.write(executed(file), file)


if __name__ == "__main__":
    main()
