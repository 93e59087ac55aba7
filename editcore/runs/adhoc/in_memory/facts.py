"""Facts as Python programs write them: dictionaries, with the names that `editcore.check` has."""

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

from editcore.config.messages import did_you_mean
from editcore.errors import RequestError
from editcore.requests import EditRequest, Probe

Fact = Mapping[str, Any] | EditRequest
"""A fact: `prompt` (with `{}` for the subject), `target`, and the other arguments of `request`."""


def request(
    case_id: int,
    *,
    prompt: str,
    target: str,
    subject: str = "",
    true: str = "",
    paraphrases: Sequence[str] = (),
    neighbours: Mapping[str, str] | None = None,
) -> EditRequest:
    """The request for a fact; `RequestError` for one that no model can be edited with."""
    probes = tuple(Probe(*pair) for pair in (neighbours or {}).items())
    made = EditRequest(
        case_id, prompt, subject, target.strip(), true.strip(), "", tuple(paraphrases), probes
    )
    if made.flaw:
        raise RequestError(made.flaw)
    return made


NAMES = tuple(name for name in signature(request).parameters if name != "case_id")
NEEDED = ("prompt", "target")


def requests(facts: Fact | Sequence[Fact], first: int = 0) -> tuple[EditRequest, ...]:
    """The requests for one or several facts; dictionaries get numbers from `first` on.

    Raises `RequestError` for an unknown or missing name, and for a fact that no model can be edited
    with.
    """
    several = [facts] if isinstance(facts, Mapping | EditRequest) else list(facts)
    if not several:
        raise RequestError("there are no facts to edit; give at least one")
    return tuple(_request(number, fact) for number, fact in enumerate(several, first))


def _request(number: int, fact: Fact) -> EditRequest:
    if isinstance(fact, EditRequest):
        if fact.flaw:
            raise RequestError(fact.flaw)
        return fact
    if not isinstance(fact, Mapping):
        raise RequestError(f"a fact is a {type(fact).__name__}; give a dictionary: {_known()}")
    if unknown := [str(name) for name in fact if name not in NAMES]:
        meant = did_you_mean(unknown[0], NAMES)
        raise RequestError(f"a fact has no {unknown[0]!r}. {meant}It may have {_known()}")
    if missing := [name for name in NEEDED if name not in fact]:
        raise RequestError(f"a fact has no {missing[0]!r}; it needs {' and '.join(NEEDED)}")
    return request(number, **fact)


def _known() -> str:
    return ", ".join(NAMES)
