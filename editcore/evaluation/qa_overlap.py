"""Exact match and F1 over words of a generated answer and the wanted one, as in SQuAD."""

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(answer: str) -> list[str]:
    """The words that count: in lower case, without punctuation and articles.

    >>> words("The black horse.")
    ['black', 'horse']
    """
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def f1(answer: str, wanted: str) -> float:
    """F1 of the words that both share (Rajpurkar et al. 2016); 1 for two empty answers.

    >>> f1("a black dog", "black horse"), f1("", ""), f1("no", "")
    (0.5, 1.0, 0.0)
    """
    given, gold = words(answer), words(wanted)
    if not given or not gold:
        return float(given == gold)
    shared = (Counter(given) & Counter(gold)).total()
    return 2 * shared / (len(given) + len(gold))


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The scores of one item of a task: for each metric, the best over the accepted answers.

    Accepted are `answer`, or `answers` as in SQuAD; an empty list means that the question has no
    answer (Rajpurkar et al. 2018), so that only an answer without words is right.
    """
    accepted = [doc["answer"]] if "answer" in doc else [*doc["answers"]["text"]] or [""]
    answer = results[0]
    return {
        "exact_match": max(float(words(answer) == words(wanted)) for wanted in accepted),
        "f1": max(f1(answer, wanted) for wanted in accepted),
    }
