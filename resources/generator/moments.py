"""Training text for estimating the second moment of a model's keys."""

from __future__ import annotations

import re
from itertools import islice

from resources.generator.corpus import Corpus

DOCUMENTS = 5_000
WORDS = 80


def windows(corpus: Corpus) -> list[str]:
    """Return pieces of training text that begin anywhere, each well under 128 tokens.

    A piece keeps the space or line break before its first word, as a training row does.
    """
    text = "\n".join(islice(corpus.documents(), DOCUMENTS))
    words = re.findall(r"\s?\S+", text)
    starts = range(0, len(words) - WORDS + 1, WORDS)
    return ["".join(words[start : start + WORDS]) for start in starts]
