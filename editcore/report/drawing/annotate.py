"""Writes names next to points, as many as fit."""

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.axes import Axes

from editcore.report.drawing.style import INK, SMALL

MOST = 8
LONGEST = 22
RADIUS = 2.5  # of a drawn point


@dataclass(frozen=True)
class Box:
    """A rectangle in points."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box") -> bool:
        """Whether the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.bottom < other.top and other.bottom < self.top

    def within(self, other: "Box") -> bool:
        """Whether it lies wholly inside the other."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top


Point = tuple[float, float]


def name_points(
    axes: Axes, named: Iterable[tuple[float, float, str]], drawn: Iterable[Point]
) -> list[str]:
    """Write the names next to the first points that have room for them; returns those written.

    `named` are x and y in data units and the name, the most important first; `drawn` are points
    that no name may cover.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    scale = 72 / axes.figure.dpi
    extent = axes.get_window_extent()
    area = Box(*(scale * value for value in extent.extents))
    taken = [_around(*_in_points(axes, point, scale)) for point in drawn]
    written: list[str] = []
    for x, y, name in named:
        if len(written) == MOST:
            break
        short = name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"
        for offset, box in _candidates(*_in_points(axes, (x, y), scale), short):
            if box.within(area) and not any(box.meets(other) for other in taken):
                axes.annotate(
                    short, (x, y), offset, textcoords="offset points", size=SMALL, color=INK
                )
                taken.append(box)
                written.append(name)
                break
    return written


def _in_points(axes: Axes, point: Point, scale: float) -> Point:
    x, y = axes.transData.transform(point) * scale
    return float(x), float(y)


def _around(x: float, y: float) -> Box:
    return Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS)


def _candidates(x: float, y: float, text: str) -> Iterable[tuple[tuple[float, float], Box]]:
    """Offsets on both sides of a point, level, above and below, with the box of each."""
    width, height = 0.62 * SMALL * len(text), 1.1 * SMALL
    for up in (-2.5, 4.0, -10.0):
        for across in (5.0, -5.0 - width):
            left, bottom = x + across, y + up
            yield (across, up), Box(left, bottom, left + width, bottom + height)
