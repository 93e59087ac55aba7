"""Data sets of questions, whose subject is located in the question if it is there."""

import re
from dataclasses import replace
from typing import Any

from editcore.datasets.formats.fields import Record, paired, record_id, text, texts, with_slot
from editcore.requests import SLOT, EditRequest, Probe

ASKED = re.compile(r"^nq question:\s*", re.IGNORECASE)  # before zsRE's questions on other facts
MARKED = re.compile(r"\s*\*+\s*$")  # after some of QAEdit's answers


def zsre_answers(record: Record, index: int) -> EditRequest:
    """A record of zsRE as hypernetworks are trained on it (`src`, `ans`), without a subject."""
    return _question(record, index, prompt="src", target="ans", paraphrases="rephrase")


def qaedit(record: Record, index: int) -> EditRequest:
    """A record of QAEdit (Yang et al. 2025): questions of NQ, TriviaQA and SimpleQA."""
    request = _question(record, index, prompt="prompt", target="target", paraphrases="rephrase")
    others = record.get("locality") or []
    if not isinstance(others, list):
        raise TypeError(f"locality is {type(others).__name__}, not a list")
    probes = tuple(probe for other in others for probe in other_fact(other))
    return replace(request, neighbours=probes)


def wikibigedit(record: Record, index: int) -> EditRequest:
    """A record of WikiBigEdit (Thede et al. 2025): facts of Wikidata that changed."""
    request = _question(record, index, prompt="update", target="ans", paraphrases="rephrase")
    persona = texts(record.get("personas"))
    questions, answers = texts(record.get("mhop")), texts(record.get("mhop_ans"))
    return replace(
        request,
        paraphrases=(*request.paraphrases, *persona),
        consequences=paired(questions, answers, "questions of several steps", "multi-hop"),
    )


def unke(record: Record, index: int) -> EditRequest:
    """A record of UnKEBench (Deng et al. 2025): a question whose answer is a paragraph."""
    fields = {"prompt": "question", "target": "answer", "paraphrases": "para_question"}
    request = _question(record, index, **fields)
    questions, answers = texts(record.get("sub_question")), texts(record.get("sub_answer"))
    parts = paired(questions, answers, "questions about parts of the answer", "part")
    return replace(request, consequences=parts)


def located(prompt: str, subject: str) -> tuple[str, str]:
    """The prompt with `{}` for its subject, and the subject as it is written there.

    Without exactly one place, the prompt as it is and no subject: a fact that names none.

    >>> located("who wrote the old man and the sea?", "The Old Man and the Sea")
    ('who wrote {}?', 'the old man and the sea')
    >>> located("Who wrote it?", "The Old Man and the Sea")
    ('Who wrote it?', '')
    """
    if subject and SLOT in (found := with_slot(prompt, subject)) and SLOT not in prompt:
        return found, subject
    words = rf"(?<!\w){re.escape(subject.strip())}(?!\w)"
    places = [*re.finditer(words, prompt, re.IGNORECASE)] if subject.strip() else []
    if len(places) != 1 or SLOT in prompt:
        return prompt, ""
    start, end = places[0].span()
    return prompt[:start] + SLOT + prompt[end:], prompt[start:end]


def _question(
    record: Record, index: int, *, prompt: str, target: str, paraphrases: str
) -> EditRequest:
    """A request from the named fields; `subject`, `loc` and `ground_truth` may be missing."""
    number = record_id(record, index)
    about = text(record, "subject") if record.get("subject") is not None else ""
    asked, about = located(text(record, prompt), about)
    true = texts(record.get("ground_truth"))
    return EditRequest(
        case_id=number,
        prompt=asked,
        subject=about,
        target_new=MARKED.sub("", text(record, target)).strip(),
        target_true=true[0].strip() if true else "",
        paraphrases=texts(record.get(paraphrases)),
        neighbours=other_fact(record),
    )


def other_fact(record: Any) -> tuple[Probe, ...]:
    """The question on another fact in `loc`, with its answer in `loc_ans`; none without."""
    if not isinstance(record, dict):
        raise TypeError(f"an object with loc and loc_ans is needed instead of {record!r:.40}")
    if not record.get("loc"):
        return ()
    answers = texts(record["loc_ans"])
    return (Probe(ASKED.sub("", text(record, "loc")), answers[0].strip() if answers else ""),)
