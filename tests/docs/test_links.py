"""Links between pages of the repository, as GitHub shows them, lead to headings that exist."""

import os
from collections.abc import Iterator
from pathlib import Path

from refresh.site.markdown import anchors, links, parts, raised, relinked
from refresh.tutorials import FOLDER, read
from tests.docs.pages import ROOT
from tests.project.test_repository import tracked


def texts() -> Iterator[tuple[Path, str]]:
    for file in tracked(".md"):
        yield file, file.read_text(encoding="utf-8")
    for file in (ROOT / FOLDER).glob("*.ipynb"):
        cells = read(file).cells
        yield file, "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    pages = dict(texts())
    headings = {file: {*anchors(text)} for file, text in pages.items()}
    dead = []
    for file, text in pages.items():
        for link in links(text):
            path, _, anchor = link.partition("#")
            target = Path(os.path.normpath(file.parent / path)) if path else file
            if "://" in link or link.startswith("mailto:"):
                continue
            if not target.exists() or (anchor and anchor not in headings.get(target, ())):
                dead.append(f"{file.relative_to(ROOT)}: {link}")
    assert dead == []
    assert len(pages) > 30


PAGE = """\
# One `word` & [two](there.md)

```sh
# no heading [no](link)
```

## Two
See [this](a.md#b), `[not](this)` and ![a picture](c.svg).
## Two
"""


def test_headings_links_and_parts_are_those_outside_of_code() -> None:
    assert anchors(PAGE) == ["one-word--two", "two", "two-1"]
    assert links(PAGE) == ["there.md", "a.md#b", "c.svg"]
    assert "[this](x/a.md#b), `[not](this)`" in relinked(PAGE, lambda link: f"x/{link}")
    assert [*parts(PAGE)] == ["", "Two"]
    assert "\n# Two\n" in raised(PAGE)
    assert "# no heading" in raised(PAGE)
