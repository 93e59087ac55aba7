"""Whether an edit took: the model's answers with teacher forcing, and what it writes freely."""

from collections.abc import Iterator, Mapping
from typing import Any

from editcore.numbers import share

Row = Mapping[str, Any]

HALF = 0.5
# A metric of the edit rows, and its meaning in words.
SHOWN = (
    ("efficacy", "gives the new object"),
    ("generalization", "gives it after paraphrases"),
    ("locality", "neighbours unchanged"),
)


def took(row: Row) -> bool:
    """Whether the edited model gives the new object in any way that was asked.

    Either it predicts at least half of the object's tokens, after the bare prompt or on average
    after the test prefixes, or one of its free answers names the object.
    """
    forced = (row.get("efficacy"), row.get("efficacy_prefixed"))
    free = (row.get("efficacy_free"), row.get("efficacy_free_prefixed"))
    return any((value or 0.0) >= HALF for value in forced) or any(free)


def asked(row: Row) -> bool:
    """Whether anything was measured that shows whether the edit took."""
    return any(row.get(name) is not None for name in ("efficacy", "efficacy_free"))


def lack(row: Row, *, altered: bool) -> str:
    """In which way an edit is without effect, as a clause."""
    if altered:
        return "the model gives the new object neither after the bare prompt nor after prefixes"
    gives = "gives the new object already" if took(row) else "does not give the new object"
    return f"the model is unchanged and {gives}"


def only_prefixed(row: Row) -> bool:
    """Whether the new object is predicted after the test prefixes, and not after the prompt."""
    return (row.get("efficacy") or 0.0) < HALF <= (row.get("efficacy_prefixed") or 0.0)


def lines(row: Row) -> Iterator[str]:
    """The measurements of an edit's effect, one a line, and a sentence on its free answers."""
    for name, words in SHOWN:
        if (bare := row.get(name)) is not None:
            yield f"{name:<15}{share(bare)}, {_prefixed(row, name)}   {words}"
    if row.get("efficacy_free") is not None:
        yield free_answers(row)


def _prefixed(row: Row, name: str) -> str:
    """A metric after prefixes: the mean and, of several prefixes, their number and the range."""
    mean, n = row.get(f"{name}_prefixed"), row.get(f"{name}_prefixed_n") or 1
    if n <= 1:
        return f"after a prefix {share(mean)}"
    least, most = (row[f"{name}_prefixed_{end}"] for end in ("min", "max"))
    return f"after {n:.0f} prefixes {share(mean)} ({share(least)} to {share(most)})"


def free_answers(row: Row) -> str:
    """After which prompts the model names the new object if it is asked freely, as a sentence."""
    bare, after = bool(row["efficacy_free"]), row["efficacy_free_prefixed"]
    n = row.get("efficacy_prefixed_n")
    of = f"{after * n:.0f} of {n:.0f} prefixes" if n else f"a share of {share(after)} of prefixes"
    words = {
        (True, True): f"after the bare prompt and after {of}",
        (True, False): "only after the bare prompt",
        (False, True): f"after {of}, but not after the bare prompt",
        (False, False): "neither after the bare prompt nor after a prefix",
    }
    return f"Asked freely, it names the new object {words[bare, after > 0]}."
