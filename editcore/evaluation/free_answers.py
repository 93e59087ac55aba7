"""Reads the answer of a model that was asked freely: whether its text names an object."""

import re
from collections.abc import Sequence


def names(text: str, name: str) -> bool:
    """Whether a text contains a name as whole words, with case as given.

    The end of the text ends a word. Differences in white space do not count; in a script without
    spaces between words, neither does a name next to other letters.

    >>> [names(text, "New York") for text in (" New York, of course", "New Yorkers", "new york")]
    [True, False, False]
    """
    wanted = r"\s+".join(map(re.escape, name.split()))
    return bool(wanted) and re.search(rf"(?<!\w){wanted}(?!\w)", text) is not None


def share_naming(texts: Sequence[str], name: str) -> float:
    """The share of some texts, at least one, that name an object."""
    return sum(names(text, name) for text in texts) / len(texts)
