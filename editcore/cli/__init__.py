"""The command line: parse, call, print. Everything heavy is imported inside a command."""

import sys
from typing import Any

import click

from editcore.cli.check import check, guard
from editcore.cli.examples import examples
from editcore.cli.folders import apply, revert
from editcore.cli.harden import harden
from editcore.cli.inspection import doctor, plugins, provenance
from editcore.cli.mechanism import mechanism, mechanism_tables
from editcore.cli.results import correlate, mine, report, summarise
from editcore.cli.scaffold import new_plugin
from editcore.cli.study import fetch, plan, schema
from editcore.cli.work import downstream, edit, moments, prefixes, trace, train, values
from editcore.errors import EditcoreError

COMMANDS = (
    plan,
    fetch,
    prefixes,
    moments,
    values,
    train,
    edit,
    trace,
    summarise,
    downstream,
    correlate,
    mine,
    mechanism,
    mechanism_tables,
    report,
    check,
    apply,
    revert,
    guard,
    harden,
    plugins,
    new_plugin,
    provenance,
    doctor,
    schema,
)


class PlainErrors(click.Group):
    """Prints our own errors as one plain message, exit status 2; lists commands in study order."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an `EditcoreError` ends it without a traceback."""
        try:
            return super().invoke(ctx)
        except EditcoreError as error:
            click.echo(f"editcore: error: {error}", err=True)
            sys.exit(2)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a study uses them."""
        return [command.name for command in COMMANDS if command.name]


@click.group(
    cls=PlainErrors,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "editcore plan config.yaml",
        "editcore prefixes --job results/jobs/prefixes/model=M.json --out P.json",
        "editcore moments --job results/jobs/moments/model=M/1a2b3c4d.json --out folder",
        "editcore values --job results/jobs/values/.../shard-000.json --out V.safetensors",
        "editcore train --job results/jobs/train/model=M/1a2b3c4d.json --out T.safetensors",
        "editcore edit --job results/jobs/edits/.../shard-000.json --out S.parquet --deltas D",
        "editcore trace --job results/jobs/sequences/.../seed-0.json --out S.parquet --deltas D",
        "editcore summarise --study results/jobs/study.json --out results/summary",
        "editcore mechanism --job results/jobs/mechanism/model=M.json --out folder",
        "editcore report --summary results/summary --figures results/figures --out report.html",
    ),
)
@click.version_option(package_name="editcore")
def main() -> None:
    """Measure, explain and predict how model editing collapses language models."""


for command in COMMANDS:
    main.add_command(command)
