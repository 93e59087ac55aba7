"""MQuAKE's records (Zhong et al. 2023): facts to edit, with questions about their consequences."""

from collections.abc import Mapping
from typing import Any

from editcore import EditRequest, record_id


def mquake(record: Mapping[str, Any], index: int) -> EditRequest | None:
    """The one fact that a record edits; None for a record that edits several at once."""
    if len(record["requested_rewrite"]) != 1:
        return None
    (rewrite,) = record["requested_rewrite"]
    return EditRequest(
        case_id=record_id(record, index),
        prompt=rewrite["prompt"],
        subject=rewrite["subject"],
        target_new=rewrite["target_new"]["str"].strip(),
        target_true=rewrite["target_true"]["str"].strip(),
        relation=rewrite["relation_id"],
        paraphrases=(rewrite["question"],),
    )
