"""Numerator, denominator and perplexity of every implementation (Tables 1 and 2).

The three key strategies, each with and without C, for the same v*: six edited models per case.
"""

from itertools import product
from typing import Any

from editcore.keyvalue.keys import mixed, prefixed, unprefixed
from editcore.records.mechanism_schemas import STRATEGIES
from editcore.runs.mechanism.material import Case, Material

KEYS = dict(zip(STRATEGIES, (mixed, prefixed, unprefixed), strict=True))


def rows(material: Material) -> list[dict[str, Any]]:
    """A row per case, strategy and use of C: the table `UPDATES`."""
    ways = list(product(STRATEGIES, (True, False)))
    each = [
        (name, case, strategy, with_moment)
        for name, cases in material.sets.items()
        for case in cases
        for strategy, with_moment in ways
    ]
    edits = [
        material.solve(case, KEYS[strategy](case.keys), second_moment=with_moment)
        for _, case, strategy, with_moment in each
    ]
    found = []
    for (name, case, strategy, with_moment), edit, measured in zip(
        each, edits, material.measured(edits), strict=True
    ):
        found.append(
            {
                "model": material.job.model.name,
                "cases": name,
                "case_id": case.request.case_id,
                "strategy": strategy,
                "second_moment": with_moment,
                **_shared(material, case),
                "numerator_norm": edit.numerator_norm,
                "denominator": edit.denominator,
                **measured,
            }
        )
    return found


def _shared(material: Material, case: Case) -> dict[str, Any]:
    """A subject's position, its length, and how frequent its last token is in the texts."""
    last = case.prompt.ids[case.prompt.subject]
    return {
        "subject": case.request.subject,
        "subject_position": case.prompt.subject,
        "subject_tokens": case.prompt.subject_tokens,
        "token_frequency": material.frequency.get(last, 0.0),
    }
