"""Efficacy, generalization and locality as both papers measure them: agreement of the argmax.

Efficacy and generalization are the share of the new object's tokens that are the argmax after the
prompt and after its paraphrases; locality is the share of the tokens of the neighbours' objects at
which the edit leaves the argmax unchanged; `locality_kl` is how far the predictions there moved.
Each share is also measured after a context prefix ("The Fall of ROME", Table 5); efficacy after
several, since one prefix alone may favour or spoil an edit. They are of the first fact of a case;
`efficacy_all_facts` is the mean efficacy of all its facts.
"""

from editcore.evaluation.metrics import MetricInput, mean_or_none

COLUMNS = (
    "efficacy",
    "efficacy_prefixed",
    "efficacy_prefixed_min",
    "efficacy_prefixed_max",
    "efficacy_prefixed_n",
    "generalization",
    "generalization_prefixed",
    "locality",
    "locality_prefixed",
    "locality_kl",
    "efficacy_all_facts",
)


def accuracy(case: MetricInput) -> dict[str, float | None]:
    """The columns for one edit; None if the record has no such prompts."""
    questions, target = case.questions, case.questions.request.target_new
    columns: dict[str, float | None] = {}
    for ending, prefixed in (("", False), ("_prefixed", True)):
        rewrite = questions.rewrite(target, prefixed=prefixed)
        paraphrases = questions.paraphrases(target, prefixed=prefixed)
        neighbours = questions.neighbours(prefixed=prefixed)
        columns[f"efficacy{ending}"] = mean_or_none([case.after[q].accuracy for q in rewrite])
        columns[f"generalization{ending}"] = mean_or_none(
            [case.after[q].accuracy for q in paraphrases]
        )
        columns[f"locality{ending}"] = mean_or_none(
            [case.after[q].agreement(case.before[q]) for q in neighbours]
        )
    moved = [case.after[q].divergence for q in questions.neighbours()]
    columns["locality_kl"] = mean_or_none([each for each in moved if each is not None])
    every = [case.after[q].accuracy for q in questions.facts()]
    columns["efficacy_all_facts"] = mean_or_none(every)
    return columns | _spread(case)


def _spread(case: MetricInput) -> dict[str, float]:
    """The range of efficacy over the test prefixes, and their number."""
    asked = case.questions.rewrite(case.questions.request.target_new, prefixed=True)
    found = [case.after[question].accuracy for question in asked]
    return {
        "efficacy_prefixed_min": min(found),
        "efficacy_prefixed_max": max(found),
        "efficacy_prefixed_n": len(found),
    }
