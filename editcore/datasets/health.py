"""What a data file holds, and what is wrong with its facts, before any model edits them."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from editcore.datasets.data_file import DataFile
from editcore.datasets.named_columns import NAME as NAMED
from editcore.datasets.readers import read_dataset
from editcore.numbers import listed, plural
from editcore.registry.registry import Registry
from editcore.requests import EditRequest

SHOWN = 5  # examples of each kind of problem
LONGEST = 160  # characters of an example


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the facts of some cases: what, and which cases."""

    kind: str
    case_ids: tuple[int, ...]
    words: str


@dataclass(frozen=True)
class Health:
    """A data file's format and facts, and all that is wrong with them."""

    path: str
    format: str
    requests: Sequence[EditRequest]
    problems: Sequence[Problem]

    def as_dict(self) -> dict[str, Any]:
        """Everything but the facts, as plain data for JSON."""
        return {
            "path": self.path,
            "format": self.format,
            "counts": counts(self.requests),
            "problems": [asdict(problem) for problem in self.problems],
        }


def examine(file: DataFile, registry: Registry) -> Health:
    """Read a file and look for problems; raises as `read_dataset` does."""
    name, requests = read_dataset(file, registry)
    return Health(file.path, name, requests, list(problems(requests)))


def counts(requests: Sequence[EditRequest]) -> dict[str, int]:
    """How many facts can be edited, name a subject, and so on."""
    sound = [request for request in requests if not request.flaw]
    return {
        "facts": len(requests),
        "can be edited": len(sound),
        "name a subject": sum(request.names_subject for request in sound),
        "open with their subject": sum(request.subject_start == 0 for request in sound),
        "relations": len({request.relation for request in sound if request.relation}),
        "paraphrases": sum(len(request.paraphrases) for request in sound),
        "neighbours": sum(len(request.neighbours) for request in sound),
        "consequences": sum(len(request.consequences) for request in sound),
        "aliases": sum(len(request.aliases) for request in sound),
        "cases of several facts": sum(bool(request.further) for request in sound),
    }


def problems(requests: Sequence[EditRequest]) -> Iterator[Problem]:
    """What is wrong with facts, in the order of `KINDS`."""
    sound = [request for request in requests if not request.flaw]
    for kind, find in KINDS.items():
        for case_ids, words in find(requests if kind == UNUSABLE else sound):
            yield Problem(kind, case_ids, words)


Found = Iterator[tuple[tuple[int, ...], str]]


def _unusable(requests: Sequence[EditRequest]) -> Found:
    for request in requests:
        if request.flaw:
            yield (request.case_id,), request.flaw


def _contradictory(requests: Sequence[EditRequest]) -> Found:
    """Facts with the same prompt that are to become different: the last one edited wins."""
    for prompt, group in _by_prompt(requests):
        targets = list(dict.fromkeys(_plain(request.target_new) for request in group))
        if len(targets) > 1:
            wanted = listed([f"{request.target_new!r}" for request in group])
            yield tuple(request.case_id for request in group), f"{prompt!r} is to give {wanted}"


def _double(requests: Sequence[EditRequest]) -> Found:
    for prompt, group in _by_prompt(requests):
        for target, count in Counter(_plain(r.target_new) for r in group).items():
            same = [request for request in group if _plain(request.target_new) == target]
            if count > 1:
                fact = f"{prompt!r} → {same[0].target_new!r}"
                yield tuple(request.case_id for request in same), f"{fact} occurs {count} times"


def _already_true(requests: Sequence[EditRequest]) -> Found:
    for request in requests:
        if request.target_true and _plain(request.target_new) == _plain(request.target_true):
            words = f"{request.text!r} is to give {request.target_new!r}, which is its true object"
            yield (request.case_id,), words


def _subject_twice(requests: Sequence[EditRequest]) -> Found:
    for request in requests:
        if request.subject and _times(request.subject, request.text) > 1:
            words = f"{request.text!r} has the subject {request.subject!r} more than once"
            yield (request.case_id,), words


def _without_subject(requests: Sequence[EditRequest]) -> Found:
    """Facts without a subject in a file whose other facts have one in the prompt."""
    if any(request.names_subject for request in requests):
        for request in requests:
            if not request.names_subject:
                yield (request.case_id,), f"{request.text!r} contains no subject"


def _target_in_prompt(requests: Sequence[EditRequest]) -> Found:
    for request in requests:
        if _times(request.target_new, request.text):
            words = f"{request.text!r} already contains the new object {request.target_new!r}"
            yield (request.case_id,), words


UNUSABLE = "cannot be edited"
KINDS: Mapping[str, Callable[[Sequence[EditRequest]], Found]] = MappingProxyType(
    {
        UNUSABLE: _unusable,
        "contradictory": _contradictory,
        "double": _double,
        "already true": _already_true,
        "subject more than once": _subject_twice,
        "no subject in the prompt": _without_subject,
        "new object in the prompt": _target_in_prompt,
    }
)


def page(health: Health, preview: int) -> str:
    """The findings as text, with the first `preview` facts."""
    found = counts(health.requests)
    how = "by" if health.format == NAMED else "in the format"
    lines = [f"{health.path}: {plural(found.pop('facts'), 'fact')} {how} {health.format}"]
    lines += [f"  {name:24} {count:,}" for name, count in found.items()]
    for kind in KINDS:
        some = [problem for problem in health.problems if problem.kind == kind]
        if some:
            cases = {case for problem in some for case in problem.case_ids}
            lines += ["", f"{kind}: {plural(len(cases), 'fact')}"]
            lines += [f"  {_cases(problem)}: {_short(problem.words)}" for problem in some[:SHOWN]]
            lines += [f"  … and {len(some) - SHOWN:,} more"] if len(some) > SHOWN else []
    if not health.problems:
        lines += ["", "nothing is wrong with them"]
    if preview:
        shown = [request for request in health.requests if not request.flaw][:preview]
        lines += ["", "the first facts that can be edited:" if shown else "no fact can be edited"]
        lines += [line for request in shown for line in _preview(request)]
    return "\n".join(lines)


def _by_prompt(requests: Sequence[EditRequest]) -> Iterator[tuple[str, list[EditRequest]]]:
    """The prompts that several facts share, however they are spaced and capitalised."""
    groups: dict[str, list[EditRequest]] = defaultdict(list)
    for request in requests:
        groups[_plain(request.text)].append(request)
    for group in groups.values():
        if len(group) > 1:
            yield group[0].text, group


def _times(words: str, text: str) -> int:
    """How often whole words are in a text, however they are spaced and capitalised.

    >>> _times("Rome", "Rome, or ROME, is not a romero"), _times("HBO", "neighbours")
    (2, 0)
    """
    found = rf"(?<!\w){re.escape(_plain(words))}(?!\w)"
    return len(re.findall(found, _plain(text)))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _cases(problem: Problem) -> str:
    return ("case " if len(problem.case_ids) == 1 else "cases ") + listed(
        [str(case) for case in problem.case_ids[:SHOWN]]
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _preview(request: EditRequest) -> list[str]:
    before = f", not {request.target_true!r}" if request.target_true else ""
    change = f"{_short(request.text)} → {_short(repr(request.target_new))}{before}"
    lines = [f"  case {request.case_id}: {change}"]
    lines += [f"    in other words: {_short(text)}" for text in request.paraphrases[:1]]
    lines += [f"    unchanged: {_short(p.prompt)} → {p.target!r}" for p in request.neighbours[:1]]
    for probe in request.consequences[:1]:
        kind = f" ({probe.kind})" if probe.kind else ""
        lines.append(f"    follows{kind}: {_short(probe.prompt)} → {probe.target!r}")
    lines += (
        [f"    edited with {plural(len(request.further), 'further fact')}"]
        if request.further
        else []
    )
    return lines
