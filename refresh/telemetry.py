"""Generates the table of telemetry in docs/streams.md: `python -m refresh.telemetry`."""

import re
from pathlib import Path

import click

from editcore.atomic import write_text
from editcore.config.telemetry import TELEMETRY
from refresh.repository import root_option

PAGE = Path("docs/streams.md")
BLOCK = re.compile(r"(<!-- telemetry: start -->\n).*?(<!-- telemetry: end -->)", re.S)


def table() -> str:
    """Every quantity with its definition, source and cost."""
    rows = [f"| `{q.name}` | {q.meaning} | {q.source} | {q.cost} |" for q in TELEMETRY]
    return "\n".join(["| name | definition | source | cost |", "|---|---|---|---|", *rows])


def renewed(page: str) -> str:
    """The page with the table made again."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{table()}\n\n{found[2]}", page)


@click.command(help=__doc__)
@root_option
def main(root: Path) -> None:
    """Write the table into the page."""
    page = root / PAGE
    write_text(page, renewed(page.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
