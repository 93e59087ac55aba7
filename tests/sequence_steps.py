"""Steps of sequences that are interrupted or counted."""

from typing import Any

import pytest

from editcore.runs.sequence import run as sequence

STEP = sequence.SequenceRun.step


def end_before(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Interrupt every run before its step `last`."""

    def failing(self: Any, current: Any, step: int, *rest: Any) -> Any:
        if step == last:
            raise KeyboardInterrupt
        return STEP(self, current, step, *rest)

    monkeypatch.setattr(sequence.SequenceRun, "step", failing)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that later runs take."""
    steps: list[int] = []

    def counting(self: Any, current: Any, step: int, *rest: Any) -> Any:
        steps.append(step)
        return STEP(self, current, step, *rest)

    monkeypatch.setattr(sequence.SequenceRun, "step", counting)
    return steps
