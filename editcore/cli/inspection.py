"""The commands that inspect plugins, the installation, and the provenance of a file."""

import json
from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FILE, FOLDER
from editcore.config.messages import validated
from editcore.errors import ConfigError
from editcore.planning.paths import RESULTS
from editcore.registry.hookspecs import AUTO

WITH_PROBLEMS = 3  # the exit status of `data`


@click.command(
    short_help="List what the installed plugins provide.",
    epilog=examples(
        "editcore plugins",
        "editcore plugins --json",
        "EDITCORE_PLUGINS=editcore-mine editcore plugins",
    ),
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """List what the installed plugins provide, and the plugins that are broken.

    A plugin is a distribution with an entry point in the group `editcore` whose module implements
    any of the hooks editcore_editors, editcore_key_strategies, editcore_delta_transforms,
    editcore_editor_wrappers, editcore_metrics, editcore_model_families, editcore_datasets,
    editcore_judges.

    By default, every command loads all plugins. If the environment variable EDITCORE_PLUGINS is
    set, only the plugins that it names are loaded (distributions or entry points, separated by
    commas); if it is empty, none are.
    """
    from editcore.registry.inventory import inventory, inventory_text
    from editcore.registry.registry import load_registry

    found = inventory(load_registry())
    click.echo(json.dumps(found, indent=2) if as_json else inventory_text(found))


@click.command(
    short_help="Count a data file's facts, and say what is wrong with them.",
    epilog=examples(
        "editcore data facts.json",
        "editcore data facts.jsonl --format flat --preview 10",
        "editcore data facts.json --json",
        "editcore data facts.csv --columns prompt=question,target_new=answer,subject=about",
    ),
)
@click.argument("file", type=FILE)
@click.option(
    "--format", "name", default=AUTO, show_default=True, help="The format of its records."
)
@click.option(
    "--columns",
    metavar="PART=COLUMN,…",
    help="The file's own columns instead of a format, as in a study's `columns`. A part that is in "
    "several columns is given several times.",
)
@click.option(
    "--preview",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Number of facts to show.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def data(file: Path, name: str, columns: str | None, preview: int, as_json: bool) -> None:
    """Read the facts in FILE, count them, and say what is wrong with them.

    FILE is JSON, JSON Lines, Parquet, or a table (CSV or TSV) whose first line names its columns.

    Problems are records that cannot be read or edited, facts that contradict or repeat others, new
    objects that are already true or already in the prompt, and subjects that a prompt names more
    than once. A study records unreadable and unfit facts as failed edits, and edits all others.

    Exit status: 0 if nothing is wrong, 3 if something is, 2 if the file cannot be used.
    """
    from editcore.config.study import DatasetSection
    from editcore.datasets.data_file import DataFile
    from editcore.datasets.health import examine, page
    from editcore.registry.registry import load_registry

    named = _parts(columns) if columns is not None else None
    given = {"path": str(file), "format": name, "columns": named}
    section = validated(DatasetSection, given, "--columns")
    source = DataFile(str(file), section.format, section.columns)
    health = examine(source, load_registry())
    click.echo(json.dumps(health.as_dict(), indent=2) if as_json else page(health, preview))
    if health.problems:
        raise click.exceptions.Exit(WITH_PROBLEMS)


def _parts(pairs: str) -> dict[str, list[str] | str]:
    """`part=column` pairs, separated by commas, as a study's mapping.

    >>> _parts("prompt=q,paraphrases=p1,paraphrases=p2")
    {'prompt': 'q', 'paraphrases': ['p1', 'p2']}
    """
    found: dict[str, list[str]] = {}
    for pair in pairs.split(","):
        part, equals, column = pair.partition("=")
        if not equals:
            raise ConfigError(f"--columns {pair}: write the part of a fact, `=` and its column")
        found.setdefault(part.strip(), []).append(column)
    return {part: names[0] if len(names) == 1 else names for part, names in found.items()}


@click.command(
    short_help="Show how a file of results was made.",
    epilog=examples("editcore provenance results/summary/verdicts.parquet"),
)
@click.argument("file", type=FILE)
def provenance(file: Path) -> None:
    """Print how FILE (Parquet or safetensors) was made, as JSON."""
    from editcore.records.provenance import read

    click.echo(json.dumps(read(file), indent=2, sort_keys=True))


@click.command(
    short_help="Check the installation.",
    epilog=examples("editcore doctor", "editcore doctor --results /scratch/study/results"),
)
@click.option(
    "--results",
    type=FOLDER,
    default=RESULTS,
    show_default=True,
    help="The results to examine, if there are any.",
)
def doctor(results: Path) -> None:
    """Check versions, imports, plugins, devices and bundled models.

    Exit status 1 if anything is broken. Also notes (NB) results that were made by different
    versions of editcore or of an editor.
    """
    from editcore.runs.doctor import examine

    findings = examine(results)
    for finding in findings:
        click.echo(str(finding))
    if not all(finding.healthy for finding in findings):
        raise click.exceptions.Exit(1)
