"""The command line: parse, call, print. Everything heavy is imported inside a command."""

import errno
import os
import sys
from typing import Any, NoReturn

import click

from editcore.cli.calibrate import calibrate
from editcore.cli.check import check, guard
from editcore.cli.compare import compare
from editcore.cli.edited.export import export, fits
from editcore.cli.edited.folders import apply, log, revert, verify
from editcore.cli.edited.measure import measure
from editcore.cli.examples import examples
from editcore.cli.harden import harden
from editcore.cli.inspection import data, doctor, plugins, provenance
from editcore.cli.jobs import JOB_COMMANDS, renamed
from editcore.cli.process.ctrl_c import noted
from editcore.cli.publish import publish
from editcore.cli.results import (
    backtest,
    correlate,
    mechanism_tables,
    mine,
    report,
    rescore,
    summarise,
)
from editcore.cli.scaffold import init, new_plugin
from editcore.cli.study import fetch, plan, run, schema
from editcore.errors import EditcoreError, out_of_memory, reason

FOR_PEOPLE = (
    check,
    guard,
    calibrate,
    measure,
    apply,
    revert,
    log,
    verify,
    export,
    fits,
    init,
    run,
    data,
    plan,
    report,
    compare,
    publish,
    mine,
    backtest,
    rescore,
    harden,
    plugins,
    new_plugin,
    doctor,
    provenance,
    schema,
)
# In the order in which a study uses them.
OF_THE_WORKFLOW = (
    fetch,
    JOB_COMMANDS["prefixes"],
    JOB_COMMANDS["rounding"],
    JOB_COMMANDS["texts"],
    JOB_COMMANDS["moments"],
    JOB_COMMANDS["spectrum"],
    JOB_COMMANDS["anchor"],
    JOB_COMMANDS["train"],
    JOB_COMMANDS["values"],
    JOB_COMMANDS["edit"],
    JOB_COMMANDS["sequence"],
    summarise,
    JOB_COMMANDS["downstream"],
    correlate,
    JOB_COMMANDS["survive"],
    JOB_COMMANDS["layers"],
    JOB_COMMANDS["mechanism"],
    mechanism_tables,
)
SECTIONS = {"Commands": FOR_PEOPLE, "Commands that the workflow calls": OF_THE_WORKFLOW}
COMMANDS = (*FOR_PEOPLE, *OF_THE_WORKFLOW)

WRONG = 2
STOPPED = 130  # as shells report a program that Ctrl-C ended


class PlainErrors(click.Group):
    """Prints errors as one plain message each; lists commands in two sections."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Refuse arguments that are not UTF-8, since no results file could contain them."""
        for argument in args:
            if not argument.isascii() and argument != argument.encode(errors="replace").decode():
                raise click.UsageError(f"the argument {argument!a} is not valid UTF-8; correct it")
        return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that the user can fix ends it with status 2, no traceback."""
        with noted() as pressed:
            try:
                result = super().invoke(ctx)
            except KeyboardInterrupt:
                self._end("stopped", STOPPED)
            except Exception as error:
                # An interrupted library may raise an error of its own.
                if not pressed():
                    self._end_plainly(error)
                    raise
            if pressed():
                self._end("stopped", STOPPED)
            return result

    def _end_plainly(self, error: Exception) -> None:
        """End for an error that the user can fix; return for anything else."""
        match error:
            case EditcoreError():
                self._end(f"error: {error}", WRONG)
            case OSError() if error.errno != errno.EPIPE:  # the reader closed the pipe
                self._end(f"error: {_sentence(error)}", WRONG)
            case _ if out_of_memory(error):
                self._end(
                    f"error: out of memory ({reason(error)}); use smaller batches, fewer cases or "
                    "texts at a time, or a machine with more memory",
                    WRONG,
                )

    @staticmethod
    def _end(message: str, status: int) -> NoReturn:
        click.echo(f"editcore: {message}", err=True)
        sys.exit(status)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands for people first, then those that the workflow calls."""
        width = formatter.width - 6 - max(len(command.name or "") for command in COMMANDS)
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(c.name or "", c.get_short_help_str(width)) for c in commands])


def _sentence(error: OSError) -> str:
    """The system's error, and the file that it concerns."""
    if error.filename is None:
        return f"system error: {error.strerror or error}"
    name = os.fsdecode(error.filename) if not isinstance(error.filename, int) else error.filename
    return f"{name!s:.200}: {error.strerror or error}; correct the path or its permissions"


@click.group(
    cls=PlainErrors,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        'editcore check --model tiny-gpt2 --editor EDITOR --prompt "{} is made by" \\',
        '  --subject Orbit --target "Velra Labs"',
        "editcore guard edits.json --model tiny-gpt2 --editor EDITOR --out guarded",
        "editcore apply guarded tiny-gpt2 --out path/to/edited",
        "editcore init my-study",
        "editcore plugins",
    ),
)
@click.version_option(package_name="editcore")
def main() -> None:
    """Measure, explain and predict how model editing collapses language models."""


for command in (*COMMANDS, renamed("trace", JOB_COMMANDS["sequence"])):
    main.add_command(command)
