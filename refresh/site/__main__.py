"""Builds the site of the documentation: `python -m refresh.site`. Needs no network."""

import shutil
import sys
import tempfile
from pathlib import Path

import click
from sphinx.cmd.build import build_main

from editcore.errors import EditcoreError
from refresh.repository import root_option
from refresh.site.sources import Sources

SETTINGS = Path(__file__).parent


@click.command(help=__doc__)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/site"),
    show_default=True,
    help="The folder of the site, which is replaced.",
)
@root_option
def main(out: Path, root: Path) -> None:
    """Build the site; a warning of Sphinx is an error, and leaves the old site."""
    with tempfile.TemporaryDirectory() as folder:
        pages, made, parsed = (Path(folder) / name for name in ("pages", "site", "parsed"))
        try:
            Sources(root, pages).write()
        except EditcoreError as error:
            raise click.UsageError(str(error)) from error
        options = ["--fail-on-warning", "--quiet", "-c", str(SETTINGS), "-d", str(parsed)]
        if status := build_main([*options, str(pages), str(made)]):
            sys.exit(status)
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out, ignore_errors=True)
        shutil.move(made, out)
    click.echo(f"written: {out}/index.html")


if __name__ == "__main__":
    main()
