"""Portability: whether what follows from the edited fact changed with it.

Yao et al. 2023 (Editing Large Language Models: Problems, Methods, and Opportunities) ask questions
that need the new fact and another one, and Zhong et al. 2023 (MQuAKE) those of several steps. The
score of a consequence is the share of its answer's tokens that are the argmax, as in
`metrics.accuracy`; if the answer has several names, that of the name with the largest share.
"""

import re
from typing import TYPE_CHECKING

from editcore.evaluation.metrics import MetricInput, mean_or_none
from editcore.evaluation.metrics.names import names
from editcore.requests import Probe

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import Answers, CaseQuestions, Question

COLUMNS = ("portability", "portability_base", "multi_hop", "reversed")
HOPS = re.compile(r"(multi|several|two|three|four|[2-9])[\s_-]?hop", re.IGNORECASE)
REVERSED = re.compile("reverse", re.IGNORECASE)


def questions(case: "CaseQuestions") -> "list[Question]":
    """Each consequence with every name of its answer."""
    return [asked for probe in case.request.consequences for asked in _asked(case, probe)]


def portability(case: MetricInput) -> dict[str, float | None]:
    """The four columns for one edit; None if the record has no such consequences."""
    found = case.questions.request.consequences
    kinds = {
        "multi_hop": [probe for probe in found if HOPS.search(probe.kind)],
        "reversed": [probe for probe in found if REVERSED.search(probe.kind)],
    }
    return {
        "portability": _share(case.questions, case.after, found),
        "portability_base": _share(case.questions, case.before, found),
        **{name: _share(case.questions, case.after, probes) for name, probes in kinds.items()},
    }


def _asked(case: "CaseQuestions", probe: Probe) -> "list[Question]":
    return case.scored(probe.prompt, *names(probe))


def _share(
    case: "CaseQuestions", answers: "Answers", probes: "tuple[Probe, ...] | list[Probe]"
) -> float | None:
    """The mean over consequences of the largest share of a name's tokens that are the argmax."""
    return mean_or_none(
        [max(answers[asked].accuracy for asked in _asked(case, probe)) for probe in probes]
    )
