"""Draws the rooms of `editcore/` from its own imports: `python -m refresh.rooms`.

A room is a folder. It may only import from the rooms before it; this includes imports inside
functions and imports for types.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from editcore.report.drawing.figures import save
from editcore.report.drawing.style import INK, RULE, drawing
from refresh.documents import between
from refresh.repository import root_option

PACKAGE = "editcore"
PAGE, PICTURE = Path("docs/design.md"), Path("docs/rooms.svg")
ROOT_FILES = "(root)"
FACES = "faces"
# From the bottom to the top: each folder may import those before it.
ORDER = (
    ROOT_FILES,
    "config",
    "registry",
    "datasets",
    "sources",
    "planning",
    "records",
    "models",
    "updates",
    "keyvalue",
    "editing",
    "evaluation",
    "collapse",
    "builtin",
    "summary",
    "live",
    "runs",
    "report",
    "publish",
    FACES,
)
# Modules at the root of the package that every room uses.
LEAVES = ("errors", "requests", "atomic", "numbers", "progress", "text_table")
RULES = {
    ROOT_FILES: "What all rooms use: errors, requests, atomic writing, formatting of numbers.",
    "builtin": "What editcore itself provides through the hooks of plugins.",
    FACES: "What users call: `editcore`, `editcore.toolkit`, the commands, the testing kit.",
}
# Folders of `runs` that do not import each other.
SEPARATE = ("sequence", "mechanism", "finished", "adhoc")
RUN_OF_EDITS = ("edit", "edit_rows")
START, END = "<!-- rooms: start -->", "<!-- rooms: end -->"
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Room:
    """A folder of the package, and its rule in one line."""

    name: str
    rule: str


def graph(package: Path) -> Graph:
    """Which module of a package imports which, by dotted name; imports of every kind count."""
    files = {_dotted(file, package): file for file in sorted(package.rglob("*.py"))}
    return {
        module: frozenset(_imported(file.read_text(encoding="utf-8"), files)) - {module}
        for module, file in files.items()
    }


def _dotted(file: Path, package: Path) -> str:
    parts = (package.name, *file.relative_to(package).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(text: str, known: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [(f"{node.module}.{alias.name}", node.module) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [(alias.name, alias.name) for alias in node.names]
        else:
            continue
        yield from (
            full if full in known else module
            for full, module in names
            if module in known or full in known
        )


def room_of(module: str) -> str:
    """The room that a module belongs to.

    >>> room_of("editcore.keyvalue.keys"), room_of("editcore.errors"), room_of("editcore")
    ('keyvalue', '(root)', 'faces')
    """
    _, _, inside = module.partition(".")
    name = inside.split(".")[0]
    if name in LEAVES:
        return ROOT_FILES
    return name if name in ORDER else FACES


def upward(imports: Graph) -> list[tuple[str, str]]:
    """The imports that lead from a room to a later one, or between separate folders of runs."""
    place = {name: i for i, name in enumerate(ORDER)}
    return [
        (module, other)
        for module, others in imports.items()
        for other in sorted(others)
        if place[room_of(other)] > place[room_of(module)] or _across(module, other)
    ]


def _across(module: str, other: str) -> bool:
    """Whether an import is between folders of `runs`, or from one of them to the runs of edits."""
    one, two = (name.split(".")[2:] for name in (module, other))
    if room_of(module) != "runs" or room_of(other) != "runs" or not one or not two:
        return False
    if one[0] not in SEPARATE:
        return False
    other_folder = two[0] in SEPARATE and two[0] != one[0]
    return other_folder or (two[0] in RUN_OF_EDITS and one[0] != "adhoc")


def rooms(package: Path) -> list[Room]:
    """The rooms in order, with the rules in their docstrings."""
    return [
        Room(name, RULES.get(name) or _first_line(package / name / "__init__.py")) for name in ORDER
    ]


def _first_line(file: Path) -> str:
    return str(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))).splitlines()[0]


def table(found: list[Room]) -> str:
    """The rooms as a table of Markdown."""
    lines = ["| room | rule |", "|---|---|"]
    for room in found:
        shown = room.name if room.name in (ROOT_FILES, FACES) else f"`{room.name}`"
        lines.append(f"| {shown} | {room.rule} |")
    return "\n".join(lines)


def draw(imports: Graph) -> Figure:
    """Which room (row) imports from which (column); the rooms that it may import from are pale.

    Only whether a room imports from another is shown, not how often.
    """
    found = {(room_of(module), room_of(other)) for module in imports for other in imports[module]}
    figure = Figure(figsize=(6.4, 5.4), layout="constrained")
    axes = figure.add_subplot(aspect="equal")
    for row, importing in enumerate(ORDER):
        for column, imported in enumerate(ORDER[:row]):
            colour = INK if (importing, imported) in found else RULE
            axes.add_patch(Rectangle((column + 0.1, row + 0.1), 0.8, 0.8, color=colour, lw=0))
    centres = [place + 0.5 for place in range(len(ORDER))]
    # The first room imports from no other, and no other imports from the last.
    axes.set_xticks(centres[:-1], ORDER[:-1], rotation=50, ha="right", rotation_mode="anchor")
    axes.set_yticks(centres[1:], ORDER[1:])
    axes.set_xlim(0, len(ORDER) - 1)
    axes.set_ylim(len(ORDER), 1)
    axes.set_xlabel("imported room")
    axes.set_ylabel("importing room")
    axes.set_title("Dark: imports from it. Pale: may import from it, but does not.", loc="left")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def page(root: Path) -> str:
    """docs/design.md with the current table of the rooms."""
    text = (root / PAGE).read_text(encoding="utf-8")
    return between(text, table(rooms(root / PACKAGE)), START, END)


@click.command()
@root_option
def main(root: Path) -> None:
    """Regenerate docs/rooms.svg and the table of rooms in docs/design.md."""
    with drawing():
        save(draw(graph(root / PACKAGE)), root / PICTURE)
    (root / PAGE).write_text(page(root), encoding="utf-8")


if __name__ == "__main__":
    main()
