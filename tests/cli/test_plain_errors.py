"""If the system or the user stops a command, it ends with one line and no traceback."""

import errno
import os

import click
import pytest
import torch
from click.testing import CliRunner

from editcore.cli import PlainErrors, main


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "--results", "r" * 300),
        ("plan", "c" * 300),
        ("provenance", "p" * 300),
        ("summarise", "s" * 300, "--out", "out"),
        ("report", "--summary", "s" * 300, "--figures", "f", "--out", "o", "--study", "s" * 300),
        ("plan", "study\udcff.yaml"),
    ],
)
def test_a_name_that_the_system_refuses_is_one_plain_error(arguments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.output.strip().count("\n") <= 4


@pytest.mark.parametrize(
    ("raised", "status", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a.json"), 2, "a.json: No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "b"), 2, "b: Permission denied"),
        (OSError("cannot mmap"), 2, "system error: cannot mmap"),
        (MemoryError(), 2, "out of memory"),
        (RuntimeError("CPUAllocator: can't allocate memory"), 2, "(CPUAllocator: can't allocate"),
        (KeyboardInterrupt(), 130, "editcore: stopped"),
    ],
)
def test_what_stops_a_command_is_one_line(raised: BaseException, status: int, message: str) -> None:
    @click.group(cls=PlainErrors)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        raise raised

    result = CliRunner().invoke(group, ["work"])
    assert result.exit_code == status
    assert message in result.output
    assert result.output.count("\n") == 1


def test_what_no_machine_can_allocate_is_one_line() -> None:
    @click.group(cls=PlainErrors)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        torch.empty(2**60)

    result = CliRunner().invoke(group, ["work"])
    assert result.exit_code == 2
    assert result.output.startswith("editcore: error: out of memory (")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("raised", [ZeroDivisionError(), RuntimeError("shapes do not match")])
def test_a_mistake_of_our_own_keeps_its_traceback(raised: Exception) -> None:
    @click.group(cls=PlainErrors)
    def group() -> None: ...

    @group.command()
    def work() -> None:
        raise raised

    assert CliRunner().invoke(group, ["work"]).exception is raised
