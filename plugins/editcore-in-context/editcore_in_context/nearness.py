"""Which of the edited facts is nearest to a prompt, by the words that they share."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Words = frozenset[str]


def words_of(text: str) -> Words:
    """The distinct words of a text, whatever their case.

    >>> sorted(words_of("Coral's reef, the REEF"))
    ['coral', 'reef', 's', 'the']
    """
    return frozenset(re.findall(r"\w+", text.casefold()))


@dataclass(frozen=True)
class Index:
    """The words of facts' prompts, in the order of the facts, and what each word weighs."""

    facts: Sequence[Words]
    weights: Mapping[str, float]

    @classmethod
    def of(cls, prompts: Sequence[str]) -> "Index":
        """A word weighs log(1 + facts / facts with it), which is never 0."""
        facts = [words_of(prompt) for prompt in prompts]
        counts = Counter(word for words in facts for word in words)
        return cls(facts, {w: math.log1p(len(facts) / n) for w, n in counts.items()})

    def nearest(self, text: str, least: float) -> int | None:
        """The fact that is nearest to a text, of equally near ones the last.

        None if its similarity is below `least`.
        """
        words = words_of(text)
        similarities = [self._similarity(fact, words) for fact in self.facts]
        best = max(similarities, default=-1.0)
        if best < least:
            return None
        return max(i for i, each in enumerate(similarities) if each == best)

    def _similarity(self, fact: Words, words: Words) -> float:
        """The share of a fact's words that are among `words`, by weight; 0 if it has none."""
        # fsum rounds once, so that a sum does not depend on the order of a set.
        whole = math.fsum(self.weights[word] for word in fact)
        return math.fsum(self.weights[word] for word in fact & words) / whole if fact else 0.0
