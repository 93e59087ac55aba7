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
        "#e69f00": "var(--c5)",
        "#56b4e9": "var(--c6)",
    }
)


# Paths to a hundredth and points to a tenth of a point look the same, at half the size.
_PATHS = re.compile(r'(?<= d=")[^"]*(?=")')
_PLACES = re.compile(r'(?<= [xy]=")[^"]*(?=")')
_DECIMALS = re.compile(r"-?\d+\.\d+")
# Neighbouring points of one style, inside a group.
_POINTS = re.compile(r"<g>((?:\s*<use [^>]*/>){2,})\s*</g>")
_STYLE = re.compile(r' style="([^"]*)"')


def inline(svg: str, prefix: str, description: str) -> str:
    """The `<svg>` element of a file made by the figures module, for use in a page.

    `prefix` makes its ids unique in the page; screen readers read `description`.
    """
    element = svg[svg.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = slimmed(element.replace("xlink:href=", "href="))
    element = re.sub(r'\b(id=")([^"]+)"', rf'\1{prefix}-\2"', element)
    element = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", element)
    for colour, variable in VARIABLES.items():
        element = element.replace(colour, variable)
    head, body = element.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    label = html.escape(description, quote=True)
    return f'{head} role="img" aria-label="{label}">{body}'


def slimmed(svg: str) -> str:
    """The same picture in fewer bytes: rounded numbers, and one style for a group of points.

    >>> slimmed('<g><use x="1.26" style="fill: red"/> <use x="2.5" style="fill: red"/></g>')
    '<g style="fill: red"><use x="1.3"/> <use x="2.5"/></g>'
    """
    svg = _PATHS.sub(lambda found: _rounded(found[0], 2), svg)
    svg = _PLACES.sub(lambda found: _rounded(found[0], 1), svg)
    return _POINTS.sub(_grouped, re.sub(r"\n\s+", "\n", svg))


def _rounded(numbers: str, digits: int) -> str:
    return _DECIMALS.sub(lambda found: f"{round(float(found[0]), digits):g}", numbers)


def _grouped(group: re.Match[str]) -> str:
    styles = set(_STYLE.findall(group[1]))
    if len(styles) != 1 or group[1].count("style=") != group[1].count("<use "):
        return group[0]
    return f'<g style="{styles.pop()}">{_STYLE.sub("", group[1])}</g>'
