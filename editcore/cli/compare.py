"""The command that compares finished studies."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from editcore.cli.examples import examples
from editcore.cli.paths import FOLDER, OUT_FILE

REGRESSED = 3


@click.command(
    short_help="Compare finished studies: what differs, and what moved.",
    epilog=examples(
        "editcore compare path/to/before/results results",
        "editcore compare path/to/before/results results --out comparison.html",
        "editcore compare path/to/before/results results --as EDITOR=my-editor",
        "editcore compare path/to/before/results results --fail-on-regression --json",
    ),
)
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--out", type=OUT_FILE, help="Also write a page (HTML) to this file.")
@click.option(
    "--as",
    "renamed",
    multiple=True,
    metavar="OLD=NEW",
    help="A label of the first study, and what the others call the same; repeatable.",
)
@click.option("--fail-on-regression", is_flag=True, help="End with status 3 after a regression.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(
    folders: tuple[Path, ...],
    out: Path | None,
    renamed: tuple[str, ...],
    fail_on_regression: bool,
    as_json: bool,
) -> None:
    """Compare the studies in FOLDERS, results folders of finished studies, with the first of them.

    Lists the settings that differ, and what became of the cases that both studies have: grades,
    efficacy, generalization, locality, perplexity, weight changes, time and memory. A group (one
    model, editor and data set) is worse if significantly more grades got worse than better (sign
    test, 5 %), if the same holds of failed edits, or if the 95 % interval of the mean difference of
    efficacy, generalization or locality is below −0.01. REGRESSION: some group is worse; IMPROVED:
    none is, and some is better; UNCHANGED: neither.

    Exit status: 0, or 3 with --fail-on-regression after a regression, 2 after an error.
    """
    from editcore.summary.compared.comparison import compare as run
    from editcore.summary.compared.words import as_dict, page

    found = run(folders, _names(renamed))
    if out is not None:
        from editcore.report.comparison.page import write

        write(out, found)
    click.echo(
        json.dumps([as_dict(each) for each in found], indent=2, ensure_ascii=False)
        if as_json
        else page(found)
    )
    if fail_on_regression and any(each.outcome == "worse" for each in found):
        raise click.exceptions.Exit(REGRESSED)


def _names(pairs: Sequence[str]) -> dict[str, str]:
    """New labels by old ones."""
    found = {}
    for pair in pairs:
        old, _, new = pair.partition("=")
        if not (old and new):
            raise click.UsageError(f"--as {pair!r}: write the first study's label, `=` and the new")
        if new != old:
            found[old] = new
    return found
