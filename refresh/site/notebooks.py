"""A notebook as Markdown, with the outputs that are stored in it; nothing is executed."""

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from refresh.tutorials import read

FENCE = "~~~~"  # longer than any in an output
SVG = "image/svg+xml"


def markdown(file: Path) -> str:
    """The cells of a notebook in their order."""
    cells = read(file).cells
    following = [*cells[1:], {"source": ""}]
    return "\n\n".join(
        part for cell, after in zip(cells, following, strict=True) for part in _parts(cell, after)
    )


def _parts(cell: Any, after: Any) -> Iterator[str]:
    if cell["cell_type"] != "code":
        yield cell["source"]
        return
    yield _fenced("ipython3", cell["source"])
    for output in cell["outputs"]:
        yield _shown(output, caption=after["source"])


def _shown(output: Any, caption: str) -> str:
    """One output: a table, a picture that the next cell's text describes, or plain text."""
    data = output.get("data", {})
    if SVG in data:
        coded = base64.b64encode(data[SVG].encode()).decode()
        picture = f'<img src="data:{SVG};base64,{coded}" alt="{escape(caption.strip("*"))}">'
        return _fenced("{raw} html", picture)
    if "text/html" in data:
        return _fenced("{raw} html", f'<div class="output">{data["text/html"]}</div>')
    return _fenced("text", output.get("text") or data["text/plain"])


def _fenced(kind: str, text: str) -> str:
    return f"{FENCE}{kind}\n{text.rstrip()}\n{FENCE}"
