"""Fits the warning again: `python -m refresh.warning RESULTS...`, folders of finished studies.

Writes the calibration that editcore provides, and the tables of docs/warning.md.
"""

from pathlib import Path

import click

from editcore.collapse.forecast import SHIPPED
from editcore.errors import EditcoreError
from editcore.summary.left_out.page import page
from editcore.summary.left_out.run import run
from refresh.documents import between
from refresh.repository import results_argument, root_option

PAGE = Path("docs") / "warning.md"
START, END = "<!-- backtest: start -->", "<!-- backtest: end -->"


@click.command()
@results_argument
@root_option
def main(results: tuple[Path, ...], root: Path) -> None:
    """Fit and test on the studies in RESULTS, and write both files."""
    try:
        found = run(results)
    except EditcoreError as error:
        raise click.UsageError(str(error)) from error
    calibration = root / "editcore" / "collapse" / SHIPPED
    found.save_calibration(calibration)
    text = (root / PAGE).read_text(encoding="utf-8")
    part = f"Tested on {found.made_from}.\n\n{page(found)}"
    (root / PAGE).write_text(between(text, part, START, END), encoding="utf-8")
    for path in (calibration, root / PAGE):
        click.echo(f"written: {path}")


if __name__ == "__main__":
    main()
