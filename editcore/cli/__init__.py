"""The command line: parse, call, print. Everything heavy is imported inside a command."""

import errno
import os
import sys
from typing import Any, NoReturn

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


WRONG = 2
STOPPED = 130  # as shells report a program that Ctrl-C ended


class PlainErrors(click.Group):
    """Prints errors that people meet as one plain message; lists commands in study order."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Refuse arguments that are no UTF-8, which no file of results could hold."""
        for argument in args:
            if not argument.isascii() and argument != argument.encode(errors="replace").decode():
                raise click.UsageError(f"the argument {argument!a} is not valid UTF-8")
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what a person can put right ends it without a traceback, status 2."""
        try:
            return super().invoke(ctx)
        except EditcoreError as error:
            self._end(f"error: {error}", WRONG)
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read our output has enough of it
                raise
            self._end(f"error: {_sentence(error)}", WRONG)
        except MemoryError:
            self._end("error: there is not enough memory for this; use less at once", WRONG)
        except KeyboardInterrupt:
            self._end("stopped", STOPPED)

    @staticmethod
    def _end(message: str, status: int) -> NoReturn:
        click.echo(f"editcore: {message}", err=True)
        sys.exit(status)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a study uses them."""
        return [command.name for command in COMMANDS if command.name]


def _sentence(error: OSError) -> str:
    """What the system refused, and for which file."""
    if error.filename is None:
        return f"the system refused: {error.strerror or error}"
    name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else error.filename
    return f"{name!s:.200}: {error.strerror or error}; correct the path or its permissions"


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
