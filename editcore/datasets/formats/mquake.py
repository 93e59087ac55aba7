"""MQuAKE: cases of several facts, and the questions of several steps that follow from them."""

from collections.abc import Iterator
from dataclasses import replace

from editcore.datasets.formats.fields import (
    Record,
    answered,
    objects,
    record_id,
    relation,
    text,
    texts,
)
from editcore.errors import DataError
from editcore.requests import EditRequest, Probe


def mquake(record: Record, index: int) -> EditRequest:
    """A record of MQuAKE (Zhong et al. 2023): all facts of a case are edited together.

    The first of `requested_rewrite` is the request, the others are `further`. Its consequences are
    the questions of several steps ("multi-hop") and their steps after the edit ("single-hop").
    """
    rewrites = objects(record["requested_rewrite"], "requested_rewrite")
    if not rewrites:
        raise DataError("requested_rewrite is empty; list at least one fact")
    number, names = record_id(record, index), _names(record)
    first, *others = (_fact(rewrite, number, names) for rewrite in rewrites)
    return replace(first, consequences=tuple(consequences(record)), further=tuple(others))


def consequences(record: Record) -> Iterator[Probe]:
    """The questions of several steps and their steps after the edit."""
    answers = (text(record, "new_answer"), *texts(record.get("new_answer_alias")))
    for question in texts(record.get("questions")):
        yield from answered(question, answers, "multi-hop")
    for hop in _hops(record):
        asked = "question" if hop.get("question") else "cloze"
        names = (text(hop, "answer"), *texts(hop.get("answer_alias")))
        yield from answered(text(hop, asked), names, "single-hop")


def _hops(record: Record) -> list[Record]:
    return objects(record.get("new_single_hops"), "new_single_hops")


def _names(record: Record) -> dict[str, tuple[str, ...]]:
    """The other names of the objects that the steps after the edit have as answers."""
    return {text(hop, "answer"): texts(hop.get("answer_alias")) for hop in _hops(record)}


def _fact(rewrite: Record, number: int, names: dict[str, tuple[str, ...]]) -> EditRequest:
    new, true = text(rewrite["target_new"], "str"), text(rewrite["target_true"], "str")
    return EditRequest(
        case_id=number,
        prompt=text(rewrite, "prompt"),
        subject=text(rewrite, "subject"),
        target_new=new.strip(),
        target_true=true.strip(),
        relation=relation(rewrite),
        aliases=names.get(new, ()),
        question=text(rewrite, "question") if rewrite.get("question") else "",
    )
