"""CKnowEdit: Chinese questions and texts that models get wrong."""

from collections.abc import Iterator

from editcore.datasets.formats.fields import Record, answered, objects, record_id, text, texts
from editcore.requests import EditRequest, Probe


def cknowedit(record: Record, index: int) -> EditRequest:
    """A record of CKnowEdit (Fang et al. 2025), which names no subject.

    Its other prompts are in lists of objects with `prompt` and `answer`, or in fields of their own
    (`portability_prompt`, `portability_answer`).
    """
    return EditRequest(
        case_id=record_id(record, index),
        prompt=text(record, "prompt"),
        subject="",
        target_new=text(record, "target_new").strip(),
        target_true=text(record, "target_old").strip() if record.get("target_old") else "",
        paraphrases=tuple(each for each in texts(record.get("rephrase")) if each.strip()),
        neighbours=tuple(_probes(record, "locality")),
        consequences=tuple(_probes(record, "portability")),
    )


def _probes(record: Record, group: str) -> Iterator[Probe]:
    """The prompts of a group with their answers; one without an answer is left out."""
    for pair in objects(record.get(group), group):
        for prompt in texts(pair["prompt"]):
            yield from answered(prompt, texts(pair["answer"]))
    for prompt in texts(record.get(f"{group}_prompt")):
        yield from answered(prompt, texts(record.get(f"{group}_answer")))
