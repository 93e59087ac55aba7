"""RippleEdits: facts as sentences, and tests of what follows from them and what does not."""

import re
from collections.abc import Iterator

from editcore.datasets.formats.fields import (
    Record,
    answered,
    objects,
    record_id,
    text,
    texts,
)
from editcore.datasets.formats.questions import located
from editcore.errors import DataError
from editcore.requests import EditRequest, Probe

FOLLOWS = ("Logical_Generalization", "Subject_Aliasing", "Compositionality_I",
           "Compositionality_II")  # fmt: skip
# The paper's page spells the first group differently from its files.
UNCHANGED = ("Relation_Specificity", "Relation_Specifity", "Forgetfulness")

# How its sentences end before the object, and what surrounds the subject in them.
BEFORE_OBJECT = re.compile(r"(?:^|\s)(?:is|are|follows|by)\s+(?=\S)")
OPENING = re.compile(r"The (?:names? of the )?")
ORDERED = re.compile(r"(?P<subject>.+) (?:follows|is followed by)$")
AFTER_RELATION = re.compile(r"(?:number of children|award|.*?\b(?:of|which|in))\s(?P<rest>.+)")
AFTER_SUBJECT = re.compile(
    r"\s(?:(?:is (?:associated with|a member of|part of|the capital of)|plays in|won|has)\s)?"
    r"(?:is|are)$"
)


def rippleedits(record: Record, index: int) -> EditRequest:
    """A record of RippleEdits (Cohen et al. 2024): the sentence of the edit ends in its object.

    The object is the one that the tests name by its id, or else what follows the sentence's last
    verb. The subject, which has only an id, is found in the sentence by its relation, and is named
    if the tests' prompts about the same id contain it. Each query of the tests is a probe, whatever
    the tests' condition: of the groups `Relation_Specificity` and `Forgetfulness`, a neighbour; of
    the others, a consequence. A query without an answer is left out.
    """
    (edit,) = objects([record["edit"]], "edit")
    former = edit.get("original_fact") or edit.get("previous_fact") or {}
    sentence, old = _sentence(edit), _sentence(former) if former else ""
    names = _names(record, edit.get("target_id"))
    stem, target = _split(sentence, old, names)
    prompt, subject = located(stem, _subject(stem, record))
    return EditRequest(
        case_id=record_id(record, index),
        prompt=prompt,
        subject=subject,
        target_new=target,
        target_true=old[len(stem) :].strip() if old.startswith(f"{stem} ") else "",
        relation=text(edit, "relation") if edit.get("relation") else "",
        neighbours=tuple(_probes(record, UNCHANGED)),
        aliases=tuple(name for name in names if name != target) if target in names else (),
        consequences=tuple(_probes(record, FOLLOWS)),
    )


def _sentence(fact: Record) -> str:
    return text(fact, "prompt").strip().removesuffix(".")


def _queries(record: Record, groups: tuple[str, ...]) -> Iterator[tuple[str, Record]]:
    """Each query of the tests of some groups, with its group."""
    for group in groups:
        for test in objects(record.get(group), group):
            for query in objects(test["test_queries"], f"{group}: test_queries"):
                yield group, query


def _answers(query: Record) -> list[str]:
    """All names of all answers of a query."""
    return [
        name
        for answer in objects(query.get("answers"), "answers")
        for name in (text(answer, "value"), *texts(answer.get("aliases")))
    ]


def _probes(record: Record, groups: tuple[str, ...]) -> Iterator[Probe]:
    for group, query in _queries(record, groups):
        yield from answered(text(query, "prompt"), _answers(query), group)


def _names(record: Record, target: object) -> list[str]:
    """The names of the new object: the answers of queries that have its id alone as target."""
    found = [
        _answers(query)
        for _, query in _queries(record, FOLLOWS)
        if query.get("target_ids") == [target]
    ]
    return [*dict.fromkeys(name.strip() for names in found for name in names if name.strip())]


def _split(sentence: str, old: str, names: list[str]) -> tuple[str, str]:
    """The sentence before its object, and the object."""
    for name in sorted(names, key=len, reverse=True):
        if sentence.endswith(f" {name}"):
            return sentence.removesuffix(name).rstrip(), name
    ends = [verb.end() for verb in BEFORE_OBJECT.finditer(sentence)]
    shared = [end for end in ends if old.startswith(sentence[:end])]
    if not ends:
        raise DataError(
            f"edit.prompt {sentence!r:.80} has no object at its end; write the fact as a sentence "
            "that ends in its object"
        )
    end = (shared or ends)[-1]
    return sentence[:end].rstrip(), sentence[end:].strip()


def _subject(stem: str, record: Record) -> str:
    """The subject in a sentence without its object; empty if the tests do not confirm it."""
    edit = record["edit"]
    relation = str(edit.get("relation") or "").lower().replace("_", " ")
    if ordered := ORDERED.match(stem):
        subject = ordered["subject"]
    else:
        rest = OPENING.sub("", stem, count=1)
        if relation and rest.lower().startswith(f"{relation} of "):
            rest = rest[len(relation) + len(" of ") :]
        elif found := AFTER_RELATION.match(rest):
            rest = found["rest"]
        subject = AFTER_SUBJECT.sub("", rest)
    about = [
        text(query, "prompt")
        for _, query in _queries(record, UNCHANGED)
        if query.get("subject_id") == edit.get("subject_id")
    ]
    return subject if all(subject in prompt for prompt in about) else ""
