"""Embeds an SVG file in a page, with unique ids, the page's colours, and a description."""

import html
import re
from collections.abc import Mapping
from types import MappingProxyType

from editcore.report.drawing.style import INK, MUTED, PAPER, RULE

# The page's style sheet gives each of these a value for the light and the dark theme.
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
    """The `<svg>` element of a file made by the figures module, for use in a page.

    `prefix` makes its ids unique in the page; screen readers read `description`.
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
