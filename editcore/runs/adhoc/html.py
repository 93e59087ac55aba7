"""Tables for notebooks: plain HTML that takes its colours from the page around it."""

from collections.abc import Sequence
from html import escape

CELL = "border: 1px solid; padding: 0.3em 0.6em; text-align: left; vertical-align: top"
CAPTION = "caption-side: top; text-align: left; font-weight: bold"


def table(caption: str, rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """A table of texts; the first cell of each row, and all of `header`, are headings.

    >>> table("A & B", [("Fact", "1 < 2")]).count("&amp;")
    1
    """
    head = "".join(_cell("th", text, "col") for text in header)
    body = "".join(
        f"<tr>{_cell('th', first, 'row')}{''.join(_cell('td', text) for text in others)}</tr>"
        for first, *others in rows
    )
    above = f"<thead><tr>{head}</tr></thead>" if head else ""
    return (
        f'<table style="border-collapse: collapse"><caption style="{CAPTION}">{escape(caption)}'
        f"</caption>{above}<tbody>{body}</tbody></table>"
    )


def _cell(name: str, text: str, scope: str = "") -> str:
    scoped = f' scope="{scope}"' if scope else ""
    lines = "<br>".join(escape(line) for line in text.splitlines())
    return f'<{name}{scoped} style="{CELL}">{lines}</{name}>'
