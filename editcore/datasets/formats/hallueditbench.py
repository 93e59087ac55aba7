"""HalluEditBench: a table of facts that models get wrong, with questions of many kinds on each."""

from collections.abc import Iterator

from editcore.datasets.formats.fields import Record, answered, record_id, text, texts
from editcore.datasets.formats.questions import located
from editcore.requests import EditRequest, Probe

STEPS = range(2, 7)


def hallueditbench(record: Record, index: int) -> EditRequest:
    """A row of HalluEditBench (Huang et al. 2025): a question whose answer is `object`.

    Questions to be answered with Yes or No, with a letter, with the subject ("reversed"), or in
    several steps are consequences. `locality_question` has no published answer, and is a neighbour
    only if the table has one in `locality_answer`.
    """
    prompt, subject = located(text(record, "question"), text(record, "subject"))
    return EditRequest(
        case_id=record_id(record, index),
        prompt=prompt,
        subject=subject,
        target_new=text(record, "object").strip(),
        target_true="",
        relation=text(record, "relation") if record.get("relation") else "",
        paraphrases=texts(record.get("paraphrased_question")),
        neighbours=tuple(_asked(record, "locality_question", record.get("locality_answer"))),
        consequences=tuple(_consequences(record)),
    )


def _consequences(record: Record) -> Iterator[Probe]:
    yield from _asked(record, "yes_question", "Yes", "yes")
    yield from _asked(record, "no_question", "No", "no")
    if record.get("multiple_choice_with_letters"):
        asked = f"{text(record, 'question')} {text(record, 'multiple_choice_with_letters')}"
        yield from answered(asked, texts(record.get("multiple_choice_labels")), "multiple-choice")
    yield from _asked(record, "reversed_relation_question", record["subject"], "reversed")
    for steps in STEPS:
        answer = record.get(f"answer_{steps}hop")
        yield from _asked(record, f"question_{steps}hop", answer, f"{steps}-hop")


def _asked(record: Record, field: str, answer: object, kind: str = "") -> Iterator[Probe]:
    """The question in a field with its answer; none if either is missing."""
    for question in texts(record.get(field)):
        yield from answered(question, texts(answer), kind)
