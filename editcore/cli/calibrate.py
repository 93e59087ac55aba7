"""The command that fits the warning on one model with one editor."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.check import choosing
from editcore.cli.examples import examples
from editcore.cli.steps import say

if TYPE_CHECKING:
    from editcore.runs.prepare import Choice


@click.command(
    short_help="Fit the warning of check on a model.",
    epilog=examples(
        "editcore calibrate --model tiny-gpt2 --editor EDITOR",
        "editcore calibrate --model path/to/model --editor EDITOR --set layer=5 --cases 50 --json",
    ),
)
@choosing
@click.option(
    "--cases",
    type=click.IntRange(min=2),
    default=24,
    show_default=True,
    help="Number of hard facts, and of ordinary ones.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def calibrate(
    choice: "Choice",
    cache: Path | None,
    cases: int,
    as_json: bool,
) -> None:
    """Edit generated hard facts and ordinary ones, and fit where harm and collapse begin.

    The result is kept in the cache, and `editcore check` uses it for this model, editor and these
    options. The model itself is not changed.
    """
    from editcore.runs.adhoc.calibrate import calibrate as run
    from editcore.sources.cache import default_cache

    made = run(choice, cases, cache or default_cache(), say)
    click.echo(json.dumps(made.as_dict(), indent=2) if as_json else str(made))
