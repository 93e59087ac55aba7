"""AKEW: facts given as texts, in the records of other data sets."""

from dataclasses import replace

from editcore.datasets.formats import mquake
from editcore.datasets.formats.fields import (
    Record,
    neighbours,
    objects,
    paired,
    record_id,
    relation,
    text,
    texts,
)
from editcore.datasets.formats.questions import located, other_fact
from editcore.errors import DataError
from editcore.requests import SLOT, EditRequest, Probe


def akew(record: Record, index: int) -> EditRequest:
    """A record of AKEW (Wu et al. 2024): a prompt is continued by a text on the new fact.

    Its three files have the records of COUNTERFACT, of MQuAKE (the facts after the first are
    `further`), and of WikiUpdate. Without a text, the new object is edited in. What the text states
    besides (`unsfact_triplets_GPT`) are consequences of the kind "part".
    """
    given = record["requested_rewrite"]
    rewrites = objects(given if isinstance(given, list) else [given], "requested_rewrite")
    if not rewrites:
        raise DataError("requested_rewrite is empty; list at least one fact")
    number = record_id(record, index)
    first, *others = (_fact(rewrite, number) for rewrite in rewrites)
    hops = tuple(mquake.consequences(record)) if "questions" in record else ()
    return replace(
        first,
        paraphrases=texts(record.get("paraphrase_prompts")),
        neighbours=_neighbours(record, number, _true(rewrites[0])),
        consequences=(*first.consequences, *hops),
        further=tuple(replace(other, consequences=()) for other in others),
    )


def _fact(rewrite: Record, number: int) -> EditRequest:
    subject = text(rewrite, "subject")
    prompt, about = text(rewrite, "prompt"), subject
    if (full := rewrite.get("prompt_full")) and full != prompt.replace(SLOT, subject):
        prompt, about = located(text(rewrite, "prompt_full"), subject)
    is_text = bool(rewrite.get("fact_new_uns"))
    return EditRequest(
        case_id=number,
        prompt=prompt,
        subject=about,
        target_new=(text(rewrite, "fact_new_uns") if is_text else _new(rewrite)).strip(),
        target_true="" if is_text else _true(rewrite),
        relation=relation(rewrite),
        consequences=_parts(rewrite),
        question=text(rewrite, "question") if rewrite.get("question") else "",
    )


def _new(rewrite: Record) -> str:
    if "answer_new" in rewrite:
        return text(rewrite, "answer_new")
    return text(rewrite["target_new"], "str")


def _true(rewrite: Record) -> str:
    """The object before the edit; empty without one."""
    if "answer_true" in rewrite:
        return text(rewrite, "answer_true").strip()
    return text(rewrite["target_true"], "str").strip() if "target_true" in rewrite else ""


def _parts(rewrite: Record) -> tuple[Probe, ...]:
    """Each single fact that a text states: a prompt with its subject, and the object."""
    facts = objects(rewrite.get("unsfact_triplets_GPT"), "unsfact_triplets_GPT")
    prompts = tuple(text(fact, "prompt").replace(SLOT, text(fact, "subject")) for fact in facts)
    return paired(prompts, tuple(text(fact, "target") for fact in facts), "facts", "part")


def _neighbours(record: Record, number: int, true: str) -> tuple[Probe, ...]:
    """COUNTERFACT's neighbours, which share the true object, or else the fact in `loc`."""
    if record.get("neighborhood_prompts"):
        fields = "neighborhood_prompts", "neighborhood_objects"
        return neighbours(record, number, *fields, default=true)
    return other_fact(record)
