"""zsRE: questions whose answer is edited."""

from editcore.datasets.formats.fields import Record, record_id, subject, text, texts, with_slot
from editcore.requests import EditRequest, Probe


def zsre(record: Record, index: int) -> EditRequest | None:
    """A record of zsRE (Mitchell et al. 2022); None for one without an alternative answer.

    The new object is `alt`, as in the collapse papers; other code takes the first answer.
    """
    case_id = record_id(record, index)
    if not text(record, "alt").strip():
        return None
    about = subject(record)
    return EditRequest(
        case_id=case_id,
        prompt=with_slot(text(record, "src"), about),
        subject=about,
        target_new=text(record, "alt").strip(),
        target_true=texts(record["answers"])[0].strip(),
        paraphrases=texts(record.get("rephrase")),
        neighbours=(Probe(text(record, "loc"), text(record, "loc_ans").strip()),)
        if record.get("loc")
        else (),
    )
