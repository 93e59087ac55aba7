"""Flat records, as EasyEdit reads them."""

from editcore.datasets.formats.fields import (
    Record,
    neighbours,
    objects,
    record_id,
    relation,
    subject,
    text,
    texts,
    with_slot,
)
from editcore.errors import DataError
from editcore.requests import EditRequest, Probe


def flat(record: Record, index: int) -> EditRequest:
    """A flat record, with the subject, if it names one, written out in the prompt (EasyEdit).

    EasyEdit's records have no `aliases`, `question`, `neighbours` (used instead of its two fields),
    `consequences` and `further`; those that editcore writes have them if a request does.
    """
    case_id = record_id(record, index)
    about = subject(record)
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(text(record, "prompt"), about),
        subject=about,
        target_new=text(record, "target_new").strip(),
        target_true=_true(record),
        relation=relation(record),
        paraphrases=texts(record.get("rephrase_prompt")),
        neighbours=_probes(record, "neighbours")
        or neighbours(record, case_id, "locality_prompt", "locality_ground_truth"),
        aliases=texts(record.get("aliases")),
        consequences=_probes(record, "consequences"),
        question=text(record, "question") if record.get("question") else "",
        further=tuple(flat(other, index) for other in objects(record.get("further"), "further")),
    )


def _true(record: Record) -> str:
    """The object before the edit."""
    if "ground_truth" not in record and "target_true" in record:
        raise DataError(
            "the field 'ground_truth' is missing: flat records have the object before the edit "
            "there, not in 'target_true', paraphrases in 'rephrase_prompt', and neighbours in "
            "'locality_prompt' and 'locality_ground_truth'; rename the fields"
        )
    return text(record, "ground_truth").strip()


def _probes(record: Record, field: str) -> tuple[Probe, ...]:
    """The probes in a list of objects."""
    return tuple(
        Probe(
            prompt=text(probe, "prompt"),
            target=text(probe, "target").strip(),
            aliases=texts(probe.get("aliases")),
            kind=text(probe, "kind") if probe.get("kind") else "",
        )
        for probe in objects(record.get(field), field)
    )
