"""The code in a page of the documentation."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EDITOR_PAGE = "docs/writing-an-editor.md"
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def code(page: str, language: str) -> list[str]:
    """The blocks of one language in a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block for kind, block in FENCED.findall(text) if kind == language]


def write_package(folder: Path) -> None:
    """Write the project of docs/writing-an-editor.md: each block to the file in its first line."""
    for block in code(EDITOR_PAGE, "python"):
        file = folder / block.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block, encoding="utf-8")
    (project,) = code(EDITOR_PAGE, "toml")
    (folder / "pyproject.toml").write_text(project, encoding="utf-8")
