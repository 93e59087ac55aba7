"""Judges of freely generated answers: whether an answer is right, on a scale from 0 to 1."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editcore.config.messages import validated
from editcore.config.options import JudgeConfig
from editcore.errors import EditcoreError, PluginError, at, in_one_line, out_of_memory
from editcore.registry.catalogue import Registered
from editcore.registry.hookspecs import JudgeInfo
from editcore.registry.registry import Registry, resolve_factory


@dataclass(frozen=True)
class Judged:
    """A model's answer to a question, and the answers that are right."""

    question: str
    accepted: tuple[str, ...]
    answer: str


Judge = Callable[[Sequence[Judged]], Sequence[float | None]]
"""Returns each answer's score from 0, wrong, to 1, right; None for one that it cannot judge."""


def each_answer(score: Callable[[str, Sequence[str]], float | None]) -> Judge:
    """A judge that scores each answer alone, by the answer and the accepted ones.

    >>> each_answer(lambda answer, accepted: float(answer in accepted))([Judged("", ("a",), "a")])
    [1.0]
    """
    return lambda answers: [score(each.answer, each.accepted) for each in answers]


@dataclass(frozen=True)
class NamedJudge:
    """A judge, checked to return one score from 0 to 1, or None, for each answer."""

    info: JudgeInfo
    function: Judge

    def __call__(self, answers: Sequence[Judged]) -> list[float | None]:
        """The score of each answer; `PluginError` for any error of a third party's judge."""
        with at(f"judge {self.info.name}"):
            try:
                found = list(self.function(answers))
                if len(found) != len(answers):
                    raise PluginError(
                        f"it returned {len(found)} scores for {len(answers)} answers; report this "
                        "to its authors"
                    )
                return [_score(value) for value in found]
            except Exception as error:
                raise _own(error) from error


@dataclass(frozen=True)
class ChosenJudge:
    """A judge and its validated options, before its implementation is imported."""

    registered: Registered[JudgeInfo]
    options: JudgeConfig

    @property
    def name(self) -> str:
        """The name that it was chosen by."""
        return self.registered.record.name

    def open(self) -> NamedJudge:
        """The judge, ready to work; `PluginError` for any error of a third party's factory."""
        info = self.registered.record
        factory = resolve_factory(info.factory)
        with at(f"judge {info.name}"):
            try:
                return NamedJudge(info, factory(self.options))
            except Exception as error:
                raise _own(error) from error


def choose(name: str, given: Mapping[str, Any], registry: Registry) -> ChosenJudge:
    """The judge of this name with the given options; imports no torch.

    Raises `PluginError` for an unknown name, `ConfigError` for wrong options, and `EditcoreError`
    if what they name does not exist.
    """
    found = registry.judges[name]
    options = validated(found.record.config, given, f"options of the judge {name}")
    with at(f"judge {name}"):
        options.check()
    return ChosenJudge(found, options)


def _score(value: float | None) -> float | None:
    if value is None:
        return None
    if math.isnan(value := float(value)) or not 0 <= value <= 1:
        raise PluginError(
            f"it returned the score {value}, which is not from 0 to 1; report this to its authors"
        )
    return value


def _own(error: Exception) -> Exception:
    """The error as it is if users know what to do then, otherwise as a `PluginError`."""
    known = isinstance(error, EditcoreError) or out_of_memory(error)
    return error if known else PluginError(in_one_line(error))
