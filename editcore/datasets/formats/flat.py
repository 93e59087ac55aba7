"""Flat records, as EasyEdit reads them."""

from editcore.datasets.formats.fields import (
    Record,
    neighbours,
    record_id,
    relation,
    subject,
    text,
    texts,
    with_slot,
)
from editcore.requests import EditRequest


def flat(record: Record, index: int) -> EditRequest:
    """A flat record, with the subject, if it names one, written out in the prompt (EasyEdit)."""
    case_id = record_id(record, index)
    about = subject(record)
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(text(record, "prompt"), about),
        subject=about,
        target_new=text(record, "target_new").strip(),
        target_true=text(record, "ground_truth").strip(),
        relation=relation(record),
        paraphrases=texts(record.get("rephrase_prompt")),
        neighbours=neighbours(record, case_id, "locality_prompt", "locality_ground_truth"),
    )
