"""The command that starts a plugin."""

from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import OUT_FOLDER


@click.command(
    "new-plugin",
    short_help="Write a plugin that works, to start from.",
    epilog=examples("editcore new-plugin my-editor", "editcore new-plugin my-editor --into ~/src"),
)
@click.argument("name")
@click.option(
    "--into",
    type=OUT_FOLDER,
    default=Path(),
    help="The folder to put it into; the working directory if left out.",
)
def new_plugin(name: str, into: Path) -> None:
    """Write the package editcore-NAME: an editor that works, its options, and its tests."""
    from editcore.scaffold import commands, create

    files = create(name, into)
    for file in files:
        click.echo(f"wrote {file}")
    click.echo("next:\n  " + "\n  ".join(commands(files[0].parent)))
