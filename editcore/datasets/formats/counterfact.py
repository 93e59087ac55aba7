"""COUNTERFACT: nested records with paraphrases and neighbours."""

from editcore.datasets.formats.fields import (
    Record,
    neighbours,
    record_id,
    relation,
    text,
    texts,
)
from editcore.requests import EditRequest


def counterfact(record: Record, index: int) -> EditRequest:
    """A record of COUNTERFACT (Meng et al. 2022).

    The neighbours' answer is the true object, unless `neighborhood_objects` lists one for each, as
    in files written by editcore, which may also have a `question` next to the prompt.
    """
    rewrite = record["requested_rewrite"]
    truth = text(rewrite["target_true"], "str")
    case_id = record_id(record, index)
    fields = "neighborhood_prompts", "neighborhood_objects"
    return EditRequest(
        case_id=case_id,
        prompt=text(rewrite, "prompt"),
        subject=text(rewrite, "subject"),
        target_new=text(rewrite["target_new"], "str").strip(),
        target_true=truth.strip(),
        relation=relation(rewrite),
        paraphrases=texts(record.get("paraphrase_prompts")),
        neighbours=neighbours(record, case_id, *fields, default=truth),
        question=text(rewrite, "question") if rewrite.get("question") is not None else "",
    )
