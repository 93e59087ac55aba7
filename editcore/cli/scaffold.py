"""The command that creates a plugin."""

from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import OUT_FOLDER


@click.command(
    "new-plugin",
    short_help="Create a working plugin to start from.",
    epilog=examples("editcore new-plugin my-editor", "editcore new-plugin my-editor --into ~/src"),
)
@click.argument("name")
@click.option(
    "--into",
    type=OUT_FOLDER,
    default=Path(),
    help="The folder to create it in; by default the working directory.",
)
def new_plugin(name: str, into: Path) -> None:
    """Create the package editcore-NAME: a working editor, its options, and its tests."""
    from editcore.scaffold import commands, create

    files = create(name, into)
    for file in files:
        click.echo(f"wrote {file}")
    click.echo("next:\n  " + "\n  ".join(commands(files[0].parent)))
