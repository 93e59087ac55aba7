"""The command that sends results to an experiment tracker, or a model to the hub."""

from collections.abc import Sequence
from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FOLDER
from editcore.cli.steps import say

HUB = "hub"


@click.command(
    short_help="Send a finished study to a tracker, or a model to the hub.",
    epilog=examples(
        "editcore publish results --to wandb --name PROJECT",
        "editcore publish results --to mlflow --name EXPERIMENT",
        "editcore publish path/to/edited --to hub --name OWNER/NAME --list",
    ),
)
@click.argument("folder", type=FOLDER)
@click.option(
    "--to",
    "target",
    required=True,
    type=click.Choice(["wandb", "mlflow", HUB]),
    help="Weights & Biases, MLflow, or the Hugging Face hub.",
)
@click.option("--name", required=True, help="The project, experiment or repository.")
@click.option("--public", is_flag=True, help="Make a new repository of the hub public.")
@click.option("--list", "only_list", is_flag=True, help="Only list what would be sent.")
def publish(folder: Path, target: str, name: str, public: bool, only_list: bool) -> None:
    """Send the results of a finished study, or an edited model, to a service.

    With wandb and mlflow, FOLDER is a results folder. A run gets the study's configuration, numbers
    for each model, editor and data set, the report, the figures and the summary tables; publishing
    the same results again resumes or renews that run. With hub, FOLDER is a model's or an
    adapter's. All its files are uploaded but hidden ones and the old weights that `apply` keeps; a
    folder with an unfinished edit is refused. What is sent is listed first.

    Exit status: 0 if everything was sent, 2 after an error.
    """
    if target == HUB:
        _to_hub(folder, name, public=public, only_list=only_list)
        return
    if public:
        raise click.UsageError("--public is only for --to hub")
    import pkgutil

    from editcore.publish.study import TRACKERS, Tracker, finished

    study = finished(folder)
    click.echo(f"{len(study.metrics)} numbers of {len(study.groups)} groups")
    _list(folder, study.files)
    if not only_list:
        log: Tracker = pkgutil.resolve_name(TRACKERS[target])
        say(f"send the study {study.identity} to {name}")
        click.echo(f"sent to {name}: {log(study, name) or study.identity}")


def _to_hub(folder: Path, name: str, *, public: bool, only_list: bool) -> None:
    """Upload a model's or an adapter's folder."""
    from editcore.publish.hub import push, uploaded

    files = uploaded(folder)
    _list(folder, files)
    if not only_list:
        say(f"upload to {name} ({'public' if public else 'private'} if it is new)")
        click.echo(f"uploaded to {push(folder, files, name, public=public)}")


def _list(folder: Path, files: Sequence[Path]) -> None:
    """The files that are sent, with their sizes."""
    for file in files:
        click.echo(f"{(folder / file).stat().st_size:>15,}  {file}")
