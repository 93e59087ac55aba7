"""Scores of a generated answer by the words that it shares with accepted ones, as in SQuAD."""

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ARTICLES = re.compile(r"\b(?:a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(answer: str) -> list[str]:
    """The words that count: in lower case, without punctuation and articles.

    >>> words("The black horse.")
    ['black', 'horse']
    """
    return ARTICLES.sub(" ", answer.lower().translate(PUNCTUATION)).split()


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 if an answer has the words of an accepted one, otherwise 0 (Rajpurkar et al. 2016).

    >>> exact_match("The black horse.", ["black horse", "horse"]), exact_match("horses", ["horse"])
    (1.0, 0.0)
    """
    return _best(lambda given, gold: given == gold, answer, accepted)


def f1(answer: str, accepted: Sequence[str]) -> float:
    """F1 of the words that an answer and an accepted one share (Rajpurkar et al. 2016), at best.

    It is 1 for two answers without words, and 0 if only one has none.

    >>> f1("a black dog", ["black horse", "cat"]), f1("", [""]), f1("no", [""])
    (0.5, 1.0, 0.0)
    """
    return _best(_f1, answer, accepted)


def contains(answer: str, accepted: Sequence[str]) -> float:
    """1 if an answer contains the words of an accepted one, whole and in a row, otherwise 0.

    An accepted answer without words is contained only in an answer without words.

    >>> contains("It is New York, I think.", ["new york"]), contains("New Yorkers", ["New York"])
    (1.0, 0.0)
    """
    return _best(_within, answer, accepted)


def _best(
    score: Callable[[list[str], list[str]], float], answer: str, accepted: Sequence[str]
) -> float:
    """The greatest score over the accepted answers; 0 if there are none."""
    given = words(answer)
    return max((float(score(given, words(gold))) for gold in accepted), default=0.0)


def _f1(given: list[str], gold: list[str]) -> float:
    if not given or not gold:
        return float(given == gold)
    shared = (Counter(given) & Counter(gold)).total()
    return 2 * shared / (len(given) + len(gold))


def _within(given: list[str], gold: list[str]) -> bool:
    if not gold:
        return not given
    places = range(len(given) - len(gold) + 1)
    return any(given[place : place + len(gold)] == gold for place in places)


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The scores of one item of a task: for each metric, the best over the accepted answers.

    Accepted are `answer`, or `answers` as in SQuAD; an empty list means that the question has no
    answer (Rajpurkar et al. 2018), so that only an answer without words is right.
    """
    accepted = [doc["answer"]] if "answer" in doc else [*doc["answers"]["text"]] or [""]
    answer = results[0]
    return {"exact_match": exact_match(answer, accepted), "f1": f1(answer, accepted)}
