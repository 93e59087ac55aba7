"""A shell can complete commands and names, quickly."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from editcore.cli import main

# What the shell runs: the installed command, with the words so far in variables.
COMMAND = (
    "import sys, editcore_start; sys.argv = ['editcore']\n"
    "try: editcore_start.editcore()\n"
    "finally: print(*sorted({'torch', 'transformers'} & set(sys.modules)), file=sys.stderr)"
)


def completed(*words: str) -> tuple[list[str], str]:
    """What a shell is offered for the last word, and which heavy libraries were imported."""
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True,
        env=os.environ | {
            "_EDITCORE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["editcore", *words]),
            "COMP_CWORD": str(len(words)),
        },
    )  # fmt: skip
    return done.stdout.splitlines(), done.stderr.strip()


def test_commands_are_completed() -> None:
    assert completed("gua") == (["plain,guard"], "")


def test_names_of_bundled_models_are_completed_and_else_folders() -> None:
    offered, heavy = completed("check", "--model", "tiny-g")
    assert offered == ["dir,tiny-g", "plain,tiny-gpt2"]
    assert heavy == ""


def test_names_of_editors_are_completed() -> None:
    offered, heavy = completed("guard", "--editor", "c-r")
    assert offered == ["plain,c-rome"]
    assert heavy == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_s_script_is_printed(shell: str) -> None:
    environment = {"_EDITCORE_COMPLETE": f"{shell}_source"}
    result = CliRunner(env=environment).invoke(main, prog_name="editcore")
    assert result.exit_code == 0
    assert "_editcore_completion" in result.output
