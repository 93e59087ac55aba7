"""KnowEdit: six data sets in one shape, whose other facts are in groups by kind."""

from collections.abc import Iterator
from typing import Any

from editcore.datasets.formats.fields import Record, answered, objects, record_id, text, texts
from editcore.datasets.formats.questions import located
from editcore.errors import DataError
from editcore.requests import EditRequest, Probe


def knowedit(record: Record, index: int) -> EditRequest:
    """A record of KnowEdit (Zhang et al. 2024) with `subject`, `prompt` and `target_new`."""
    return _fact(record, index, subject="subject", prompt="prompt", target="target_new")


def knowedit_biographies(record: Record, index: int) -> EditRequest:
    """A record of KnowEdit's WikiBio: `text` of a `concept` is continued by `labels`."""
    return _fact(record, index, subject="concept", prompt="text", target="labels")


def _fact(record: Record, index: int, *, subject: str, prompt: str, target: str) -> EditRequest:
    asked, about = located(text(record, prompt), text(record, subject))
    true = [*_leaves(record.get("ground_truth"))]
    return EditRequest(
        case_id=record_id(record, index),
        prompt=asked,
        subject=about,
        target_new=text(record, target).strip(),
        target_true=true[0].strip() if true else "",
        paraphrases=texts(record.get("rephrase")),
        neighbours=tuple(_neighbours(record.get("locality") or {})),
        consequences=tuple(_consequences(record.get("portability") or {})),
    )


def _neighbours(groups: Any) -> Iterator[Probe]:
    """The prompts of all groups, each with the first of its nested answers."""
    if not isinstance(groups, dict):
        raise TypeError(f"locality is {type(groups).__name__}, not an object")
    for kind, group in groups.items():
        for probe in group:
            answers = [*_leaves(probe["ground_truth"])]
            if not answers:
                raise DataError(f"a prompt of {kind} has no answer; add one or remove the prompt")
            for asked in _leaves(probe["prompt"]):
                yield Probe(asked, answers[0].strip())


def _consequences(groups: Any) -> Iterator[Probe]:
    """The prompts of all groups with all their answers; those without an answer are left out."""
    if not isinstance(groups, dict):
        raise TypeError(f"portability is {type(groups).__name__}, not an object")
    for kind, group in groups.items():
        for probe in objects(group, f"portability.{kind}"):
            for asked in _leaves(probe["prompt"]):
                yield from answered(asked, _leaves(probe["ground_truth"]), kind)


def _leaves(value: Any) -> Iterator[str]:
    """The texts in nested lists, in order."""
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif value not in (None, ""):
        yield from texts(value)
