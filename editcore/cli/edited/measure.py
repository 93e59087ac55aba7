"""The command that measures a model which something else edited or fine-tuned."""

import json
from pathlib import Path

import click

from editcore.cli.check import HARMED
from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FOLDER
from editcore.cli.steps import say


@click.command(
    short_help="Measure a model that something else edited.",
    epilog=examples(
        "editcore measure --model path/to/edited --against path/to/model",
        "editcore measure --model path/to/edited --against tiny-gpt2 --facts facts.json --tasks",
        "editcore measure --model path/to/edited --against path/to/model --tasks real_cloze --json",
    ),
)
@click.option(
    "--model",
    required=True,
    help="The edited or fine-tuned model: a folder, a hub id, a .gguf file, a bundled model.",
)
@click.option("--against", required=True, help="The model that it was made from, named likewise.")
@click.option("--facts", type=FILE, help="A data file of facts to ask both models.")
@click.option(
    "--tasks",
    is_flag=False,
    flag_value="",
    metavar="[NAMES]",
    help="Also score both in lm-eval tasks: these, separated by commas, or else the study's.",
)
@click.option(
    "--config",
    type=FILE,
    help="A study whose settings to use; for bundled models, config.yaml by default.",
)
@click.option("--cache", type=OUT_FOLDER, help="The folder where artefacts are cached.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def measure(
    model: str,
    against: str,
    facts: Path | None,
    tasks: str | None,
    config: Path | None,
    cache: Path | None,
    as_json: bool,
) -> None:
    """Report where the weights of two models differ, and whether the changed one is sound.

    The change is described weight by weight (its norm, its rank) and in one sentence. The model is
    graded as `editcore check` grades an edit; both are asked the facts and scored in the tasks that
    are named. Exit status: 0 if the model is sound, 3 if it is damaged or has collapsed, 2 after an
    error.
    """
    from editcore.runs.adhoc.edited.measure import measure as run
    from editcore.sources.cache import default_cache

    names = None if tasks is None else [name for each in tasks.split(",") if (name := each.strip())]
    place = cache or default_cache()
    found = run(model, against, place, say, facts=facts, tasks=names, config=config)
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else str(found))
    if found.outcome != "sound":
        raise click.exceptions.Exit(HARMED)
