"""Draws the rooms of `editcore/` from its own imports: `python -m refresh.rooms`.

A room is a folder. It may only import from the rooms before it; this includes imports inside
functions and imports for types.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from editcore.report.drawing.figures import save
from editcore.report.drawing.style import RULE, drawing
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
    "runs",
    "report",
    FACES,
)
# Modules at the root of the package that every room uses.
LEAVES = ("errors", "requests", "atomic", "gc_pause", "numbers", "progress")
RULES = {
    ROOT_FILES: "What everybody uses: errors, requests, whole-file writing, numbers as text.",
    "builtin": "What editcore itself provides through the hooks of plugins.",
    FACES: "What people call: `editcore`, `editcore.toolkit`, the commands, the kit for tests.",
}
# Folders of `runs` that do not import each other.
SEPARATE = ("sequence", "mechanism", "adhoc")
RUN_OF_EDITS = ("edit", "edit_rows")
START, END = "<!-- rooms: start -->", "<!-- rooms: end -->"
# Cells with at least this many imports have the same colour.
DARKEST = 30
Graph = Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Room:
    """A folder of the package: its rule in one line, and its modules."""

    name: str
    rule: str
    modules: tuple[str, ...]


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
    """Whether an import crosses folders of `runs`, or reaches from one into the runs of edits."""
    one, two = (name.split(".")[2:] for name in (module, other))
    if room_of(module) != "runs" or room_of(other) != "runs" or not one or not two:
        return False
    if one[0] not in SEPARATE:
        return False
    other_folder = two[0] in SEPARATE and two[0] != one[0]
    return other_folder or (two[0] in RUN_OF_EDITS and one[0] != "adhoc")


def rooms(package: Path) -> list[Room]:
    """The rooms in order, with the rules that their docstrings state."""
    modules = graph(package)
    found = []
    for name in ORDER:
        inside = tuple(m for m in modules if room_of(m) == name)
        init = package / name / "__init__.py"
        rule = RULES.get(name) or _first_line(init)
        found.append(Room(name, rule, inside))
    return found


def _first_line(file: Path) -> str:
    return str(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))).splitlines()[0]


def table(found: list[Room]) -> str:
    """The rooms as a table of Markdown."""
    lines = ["| room | rule | modules |", "|---|---|--:|"]
    for room in found:
        shown = room.name if room.name in (ROOT_FILES, FACES) else f"`{room.name}`"
        lines.append(f"| {shown} | {room.rule} | {len(room.modules)} |")
    return "\n".join(lines)


def draw(imports: Graph) -> Figure:
    """The number of imports of each room (row) from each room (column): all below the diagonal."""
    count = Counter(
        (room_of(module), room_of(other)) for module, others in imports.items() for other in others
    )
    cells = [[count[row, column] if row != column else 0 for column in ORDER] for row in ORDER]
    places = range(len(ORDER))
    figure = Figure(figsize=(8.0, 5.0), layout="constrained")
    axes = figure.add_subplot()
    axes.pcolormesh([[min(n, DARKEST) for n in row] for row in cells], cmap="Blues", vmax=60)
    for row in places:
        axes.add_patch(Rectangle((row, row), 1, 1, color=RULE))
        for column in places:
            if number := cells[row][column]:
                axes.text(column + 0.5, row + 0.5, str(number), ha="center", va="center")
    centres = [place + 0.5 for place in places]
    axes.set_xticks(centres, ORDER, rotation=50, ha="right")
    axes.set_yticks(centres, ORDER)
    axes.invert_yaxis()
    axes.set_xlabel("imported room")
    axes.set_ylabel("importing room")
    axes.set_title("Number of imports from one room to another", loc="left")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def page(root: Path) -> str:
    """docs/design.md with the table of the rooms as they are."""
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
