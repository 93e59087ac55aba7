"""Generates the table of telemetry in docs/streams.md: `python -m refresh.telemetry`."""

from pathlib import Path

import click

from editcore.config.telemetry import TELEMETRY
from refresh.documents import between
from refresh.repository import root_option

PAGE = Path("docs/streams.md")
START, END = "<!-- telemetry: start -->", "<!-- telemetry: end -->"


def table() -> str:
    """Every quantity with its definition, source and cost."""
    rows = [f"| `{q.name}` | {q.meaning} | {q.source} | {q.cost} |" for q in TELEMETRY]
    return "\n".join(["| name | definition | source | cost |", "|---|---|---|---|", *rows])


def renewed(page: str) -> str:
    """The page with the table made again."""
    return between(page, table(), START, END)


@click.command(help=__doc__)
@root_option
def main(root: Path) -> None:
    """Write the table into the page."""
    page = root / PAGE
    page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
