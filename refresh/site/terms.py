"""Links the first use of a glossary's term on each page to the term's row in the glossary."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from refresh.site.pages import SECTIONS

GLOSSARY = "glossary"
ROW = re.compile(r"^\| (?P<cell>[^|`]+?) \| ", re.MULTILINE)
ANCHORED = re.compile(
    r'^\| <a id="(?P<anchor>[^"]+)"></a>(?P<cell>[^|]+?) \| (?P<meaning>.+?) \|', re.MULTILINE
)
PLAIN = re.compile(r"[A-Za-z][A-Za-z -]{3,}")
HEADINGS = {"dimension", "strategy", "term"}
# Words that have their everyday meaning on many pages, or that a page on edits uses all the time.
EVERYDAY = {"bare", "case", "chat", "hard", "prompt", "sample", "subject", "target"}
# What is not prose, or is a link already.
LEFT = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.table,
    addnodes.desc,
)


@dataclass(frozen=True)
class Term:
    """A term with its anchor in the glossary and the Markdown of its meaning."""

    name: str
    anchor: str
    meaning: str

    @property
    def hint(self) -> str:
        """Its meaning as plain text."""
        return re.sub(r"[`*\\]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", self.meaning))


def anchored(glossary: str) -> str:
    """The glossary's Markdown with an anchor in each row whose first term is in plain words.

    >>> anchored("| key match, m | how far the two keys agree | `key_match` |")
    '| <a id="term-key-match"></a>key match, m | how far the two keys agree | `key_match` |'
    """
    return ROW.sub(_anchored, glossary)


def _anchored(row: re.Match[str]) -> str:
    name = _first(row["cell"])
    if not PLAIN.fullmatch(name) or name in HEADINGS:
        return row[0]
    return f'| <a id="term-{name.lower().replace(" ", "-")}"></a>{row[0][2:]}'


def terms(glossary: str) -> list[Term]:
    """The terms that are linked, from the Markdown with anchors."""
    found = (
        Term(_first(row["cell"]), row["anchor"], row["meaning"])
        for row in ANCHORED.finditer(glossary)
    )
    return [term for term in found if term.name not in EVERYDAY]


def _first(cell: str) -> str:
    return cell.split(",")[0].strip()


class Linker:
    """Links terms in the pages of one site."""

    def __init__(self, found: list[Term]) -> None:
        self._terms = {term.name.lower(): term for term in found}
        longest = sorted(self._terms, key=len, reverse=True)
        self._pattern = re.compile(rf"\b({'|'.join(longest)})s?\b", re.IGNORECASE)

    def link(self, page: nodes.document, glossary: str) -> None:
        """Link the first use of each term; `glossary` is the address of the glossary's page."""
        unused = dict(self._terms)
        for text in [*page.findall(nodes.Text)]:
            if not any(isinstance(above, LEFT) for above in _ancestors(text)):
                parts = self._parts(text.astext(), unused, glossary)
                if len(parts) > 1:
                    text.parent.replace(text, parts)

    def _parts(self, text: str, unused: dict[str, Term], glossary: str) -> list[nodes.Node]:
        parts: list[nodes.Node] = []
        end = 0
        for use in self._pattern.finditer(text):
            term = unused.pop(use[1].lower(), None)
            if term is not None:
                link = nodes.reference("", use[0], classes=["term"], internal=True)
                link["refuri"], link["reftitle"] = f"{glossary}#{term.anchor}", term.hint
                parts += [nodes.Text(text[end : use.start()]), link]
                end = use.end()
        return [*parts, nodes.Text(text[end:])]


def _ancestors(node: nodes.Node) -> list[nodes.Node]:
    found: list[nodes.Node] = []
    while node.parent is not None:
        node = node.parent
        found.append(node)
    return found


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    left = {GLOSSARY, *(section.name for section in SECTIONS)}
    linker = Linker(terms((Path(app.srcdir) / f"{GLOSSARY}.md").read_text(encoding="utf-8")))

    def link(app: Sphinx, page: nodes.document, name: str) -> None:
        if name not in left:
            linker.link(page, app.builder.get_relative_uri(name, GLOSSARY))

    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
