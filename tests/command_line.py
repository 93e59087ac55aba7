"""The command line as a user calls it, in this process."""

from click.testing import CliRunner, Result

from editcore.cli import main


def run(*arguments: object) -> Result:
    """The outcome of one command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: object) -> str:
    """What a command printed that succeeded."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: object) -> str:
    """The one plain error that a command ended with."""
    result = run(*arguments)
    assert isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code == 2, result.output
    return result.stderr
