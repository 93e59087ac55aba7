"""Puts an SVG file into a page: no names that clash, colours that follow the page, words for it."""

import html
import re
from collections.abc import Mapping
from types import MappingProxyType

from editcore.report.drawing.style import INK, MUTED, PAPER, RULE

# The page's style sheet gives each of these a value for light and one for dark surroundings.
VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        INK: "var(--ink)",
        MUTED: "var(--muted)",
        RULE: "var(--rule)",
        PAPER: "none",
        "#d55e00": "var(--vermilion)",
        "#0072b2": "var(--blue)",
        "#009e73": "var(--c3)",
        "#cc79a7": "var(--c4)",
    }
)


def inline(svg: str, prefix: str, description: str) -> str:
    """The `<svg>` element of a file that the figures module wrote, ready to be put into a page.

    `prefix` sets its ids apart from those of other figures; `description` is read to those who
    cannot see it.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'\b(id=")([^"]+)"', rf'\1{prefix}-\2"', element)
    element = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", element)
    for colour, variable in VARIABLES.items():
        element = element.replace(colour, variable)
    head, body = element.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    label = html.escape(description, quote=True)
    return f'{head} role="img" aria-label="{label}">{body}'
