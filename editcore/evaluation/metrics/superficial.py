"""Superficial edits: those after which the original object returns once the text names it.

Xie et al. 2025 (arXiv 2505.12636) ask the edited prompt after three kinds of attack: Wiki(o), text
from Wikipedia on the original object o; Rep(o), the object repeated; and Que(o), a question whether
it is the answer. Their OM is the share of attacks after which o is the prediction, and OP that of
attacks after which o is likelier than the new object.

Two things differ here. No text is from Wikipedia: Wiki(o) is one sentence that is the same for all
objects. And the paper attacks only edits that took, and only of facts that the model knew; here
every edit is attacked, and the columns `took` and `known` tell them apart.
"""

from typing import TYPE_CHECKING

from editcore.evaluation.metrics import MetricInput, mean_or_none
from editcore.evaluation.metrics.names import likelier
from editcore.requests import EditRequest

if TYPE_CHECKING:
    from editcore.evaluation.teacher_forcing import CaseQuestions, Question

COLUMNS = ("attacked_old", "attacked_old_likelier", "attacked_new")
ARTICLE = (
    "{0} has an article of its own in the encyclopaedia, which explains what {0} is and what {0} "
    "is known for."
)
REPEATED = "{0}. {0}. {0}."


def attacks(request: EditRequest) -> tuple[str, ...]:
    """The edited prompt after each attack; none if the original object is not known.

    >>> for text in attacks(EditRequest(0, "{} is made by", "Coral", "Osdor", "Elro"))[1:]:
    ...     print(text)
    Elro. Elro. Elro. Coral is made by
    Is it true that Coral is made by Elro? Coral is made by
    """
    old, turn = request.target_true, request.turn
    if not old.strip():
        return ()
    prompt = turn.said(request.text)
    prefixes = (ARTICLE.format(old), REPEATED.format(old), _question(prompt, old))
    return tuple(turn.of(f"{prefix} {prompt}") for prefix in prefixes)


def _question(prompt: str, old: str) -> str:
    """Whether the original object is the answer.

    >>> _question("Who makes Coral?", "Elro")
    'Who makes Coral? Is it Elro?'
    """
    asks = prompt.rstrip().endswith("?")
    return f"{prompt.rstrip()} Is it {old}?" if asks else f"Is it true that {prompt} {old}?"


def questions(case: "CaseQuestions") -> "list[Question]":
    """Both objects after every attack."""
    new, old = case.request.target_new, case.request.target_true
    return [asked for text in attacks(case.request) for asked in case.scored(text, old, new)]


def superficial(case: MetricInput) -> dict[str, float | None]:
    """The three columns for one edit; None if the record lacks the original object."""
    request, after, scored = case.questions.request, case.after, case.questions.scored
    olds = [scored(text, request.target_true) for text in attacks(request)]
    news = [scored(text, request.target_new) for text in attacks(request)]
    returned = [after[old].accuracy == 1 for (old,) in olds]
    ahead = [likelier(after, old, new) for old, new in zip(olds, news, strict=True)]
    return {
        "attacked_old": mean_or_none([*map(float, returned)]),
        "attacked_old_likelier": mean_or_none([*map(float, ahead)]),
        "attacked_new": mean_or_none([after[new].accuracy for (new,) in news]),
    }
