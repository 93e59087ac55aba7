"""Writes edit requests as records of the formats that the readers know."""

from dataclasses import asdict
from typing import Any

from editcore.requests import EditRequest, Probe

Record = dict[str, Any]


def flat_record(request: EditRequest) -> Record:
    """A request as a record of `flat`, with `{}` in the prompt; only its chat turn is lost."""
    plain = all(probe == Probe(probe.prompt, probe.target) for probe in request.neighbours)
    more = {
        "aliases": list(request.aliases),
        "question": request.question,
        "neighbours": [] if plain else [asdict(probe) for probe in request.neighbours],
        "consequences": [asdict(probe) for probe in request.consequences],
        "further": [flat_record(other) for other in request.further],
    }
    return {
        "case_id": request.case_id,
        "prompt": request.prompt,
        "subject": request.subject or None,
        "target_new": request.target_new,
        "ground_truth": request.target_true,
        "relation_id": request.relation,
        "rephrase_prompt": list(request.paraphrases),
        "locality_prompt": [probe.prompt for probe in request.neighbours],
        "locality_ground_truth": [probe.target for probe in request.neighbours],
        **{name: value for name, value in more.items() if value},
    }


def counterfact_record(request: EditRequest) -> Record:
    """A request as a record of COUNTERFACT (Meng et al. 2022), which has no consequences.

    Neighbours of COUNTERFACT share the true object; if these do not, `neighborhood_objects` lists
    the object of each. The paraphrases are also the `generation_prompts`, from which published code
    generates text.
    """
    paraphrases = list(request.paraphrases)
    objects = [probe.target for probe in request.neighbours]
    own = {"neighborhood_objects": objects} if {*objects} - {request.target_true} else {}
    question = {"question": request.question} if request.question else {}
    return {
        "case_id": request.case_id,
        "pararel_idx": request.case_id,
        "requested_rewrite": {
            "prompt": request.prompt,
            "relation_id": request.relation,
            "target_new": {"str": request.target_new, "id": ""},
            "target_true": {"str": request.target_true, "id": ""},
            "subject": request.subject,
            **question,
        },
        "paraphrase_prompts": paraphrases,
        "neighborhood_prompts": [probe.prompt for probe in request.neighbours],
        **own,
        "attribute_prompts": [],
        "generation_prompts": paraphrases,
    }
