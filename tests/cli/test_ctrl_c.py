"""Ctrl-C ends a command wherever it is pressed."""

import signal
import sys
import time
from collections.abc import Iterator

import pytest

from editcore.cli.process.ctrl_c import noted

LONG = 20  # seconds; far longer than an interrupt takes


class Pressed:
    """Ctrl-C is pressed while this object is deleted, where Python swallows what is raised."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


class Broken:
    """Its deletion fails for a reason of its own."""

    def __del__(self) -> None:
        raise ValueError("broken")


@pytest.fixture(autouse=True)
def of_a_command(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a command starts with; tests may run where Ctrl-C is ignored, as in the background."""
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_in_a_deletion_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    began = time.monotonic()
    with noted() as was_pressed:
        with pytest.raises(KeyboardInterrupt):
            Pressed()
            time.sleep(LONG)
        assert was_pressed()
    assert time.monotonic() - began < LONG
    assert capfd.readouterr().err == ""


def test_nothing_is_pressed_after_the_block() -> None:
    with noted() as was_pressed:
        Pressed()
    time.sleep(0.1)
    assert was_pressed()
    assert sys.unraisablehook is sys.__unraisablehook__


def test_another_failed_deletion_is_printed_as_usual(capfd: pytest.CaptureFixture[str]) -> None:
    with noted() as was_pressed:
        Broken()
    assert not was_pressed()
    assert "ValueError: broken" in capfd.readouterr().err
