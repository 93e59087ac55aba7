"""Draws every figure of a study into a folder."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from editcore.atomic import replacing
from editcore.report.data import ReportData
from editcore.report.drawing import denominator, perplexity
from editcore.report.drawing.style import drawing
from editcore.report.section import PageSection

Draw = Callable[[ReportData, str, str], Figure]
DRAWERS: dict[str, Draw] = {"perplexity": perplexity.draw, "denominator": denominator.draw}
KINDS = tuple(DRAWERS)


def figure_name(kind: str, model: str, editor: str) -> str:
    """The file name of a figure; labels contain no `=`, so no two figures share a name."""
    return f"{kind}-model={model}-editor={editor}.svg"


def draw_all(study: ReportData, folder: Path) -> dict[tuple[str, str, str], Path]:
    """Draw each kind of figure for each model and editor; the same study gives the same bytes.

    The result is keyed by kind, model and editor.
    """
    paths = {}
    with drawing():
        for model in study.models:
            for editor in study.editors:
                for kind in KINDS:
                    path = folder / figure_name(kind, model, editor)
                    save(DRAWERS[kind](study, model, editor), path)
                    paths[kind, model, editor] = path
    return paths


def draw_sections(sections: Sequence[PageSection], folder: Path) -> dict[str, Path]:
    """Draw the figures of the sections, by their names."""
    paths = {}
    with drawing():
        for each in (one for section in sections for one in section.drawings):
            paths[each.name] = folder / f"{each.name}.svg"
            save(each.draw(), paths[each.name])
    return paths


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG without dates or versions in it."""
    nameless = {"Date": None, "Creator": None}
    with replacing(path) as partial, warnings.catch_warnings():
        # The reader's browser has fonts for scripts that are missing from the font used here.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        figure.savefig(partial, format="svg", metadata=nameless)
