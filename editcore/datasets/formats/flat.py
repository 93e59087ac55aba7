"""Flat records, as EasyEdit reads them."""

from editcore.datasets.formats.fields import (
    Record,
    neighbours,
    record_id,
    relation,
    text,
    texts,
    with_slot,
)
from editcore.requests import EditRequest


def flat(record: Record, index: int) -> EditRequest:
    """A flat record, with the subject written out in the prompt (EasyEdit)."""
    case_id = record_id(record, index)
    subject = text(record, "subject")
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(text(record, "prompt"), subject),
        subject=subject,
        target_new=text(record, "target_new").strip(),
        target_true=text(record, "ground_truth").strip(),
        relation=relation(record),
        paraphrases=texts(record.get("rephrase_prompt")),
        neighbours=neighbours(record, case_id, "locality_prompt", "locality_ground_truth"),
    )
