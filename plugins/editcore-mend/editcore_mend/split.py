"""Divides facts by subject into those for training, for validation and for the test."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from editcore import DataError, EditRequest, read_requests
from editcore.toolkit import LoadedModel

LEAST = 2


@dataclass(frozen=True)
class Split:
    """The facts of each part; every subject's facts are in one part only.

    `flawed` are facts that are in no part because something is wrong with them, by case id.
    """

    train: tuple[EditRequest, ...]
    validation: tuple[EditRequest, ...]
    test: tuple[EditRequest, ...]
    flawed: Mapping[int, str]

    @property
    def case_ids(self) -> dict[str, list[int]]:
        """The cases of each part."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {part: [case.case_id for case in cases] for part, cases in parts.items()}

    def posed(self, model: LoadedModel) -> "Split":
        """The same parts with each fact's prompts in the model's chat, if it has one."""
        train, validation, test = (
            tuple(model.posed(facts)) for facts in (self.train, self.validation, self.test)
        )
        return replace(self, train=train, validation=validation, test=test)


def split(facts: Path, exclude: Sequence[Path], held_out: float, seed: int) -> Split:
    """Read facts and divide their subjects at random, by `seed`.

    Facts about a subject of an excluded file are in no part, whatever their relation. Raises
    `DataError` if fewer than two subjects are left to train on.
    """
    records = _facts(facts)
    known = [request for request in records if not _unfit(request)]
    flawed = {request.case_id: _unfit(request) for request in records if _unfit(request)}
    taken = {request.subject for file in exclude for request in _facts(file)}
    subjects = sorted({request.subject for request in known} - taken)
    random.Random(f"{seed}/split").shuffle(subjects)
    half = max(1, round(held_out * len(subjects) / 2))
    test, validation, train = subjects[:half], subjects[half : 2 * half], subjects[2 * half :]
    if len(train) < LEAST:
        raise DataError(
            f"{facts} has {len(subjects)} subjects that no excluded file has, too few to train on; "
            "give more facts or exclude less"
        )
    return Split(_about(known, train), _about(known, validation), _about(known, test), flawed)


def _facts(file: Path) -> list[EditRequest]:
    """Every fact of a file; those of one case count singly."""
    return [fact for case in read_requests(file) for fact in case.facts]


def _unfit(request: EditRequest) -> str:
    """Why a fact cannot be trained on; empty if it can."""
    named = request.flaw or request.names_subject
    return request.flaw if named else "the fact names no subject to divide facts by; name it"


def _about(known: Sequence[EditRequest], subjects: Sequence[str]) -> tuple[EditRequest, ...]:
    wanted = set(subjects)
    return tuple(request for request in known if request.subject in wanted)
