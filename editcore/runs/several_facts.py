"""Cases of several facts: all of them edited in one model, as one edit of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from editcore.editing.diagnostics import IN_COLUMNS
from editcore.editing.editor import EditResult
from editcore.editing.session import Session
from editcore.requests import OK, EditRequest
from editcore.updates.cumulative_delta import accumulating
from editcore.updates.delta import Delta, combine_deltas

LEAST_DENOMINATOR = "least_denominator"


def refusal(session: Session, case: EditRequest) -> str:
    """Why the editor cannot be asked to edit all facts of a case; empty if it can."""
    for number, fact in enumerate(case.facts, 1):
        if reason := session.refusal(fact):
            return _of_fact(number, reason)
    can = session.info.capabilities
    if can.batched or can.sequential:
        return ""
    return (
        f"the case has {len(case.facts)} facts, and the editor {session.info.name!r} edits one "
        "fact of an unedited model; use an editor that edits several"
    )


def edit_case(session: Session, case: EditRequest) -> EditResult:
    """All facts of a case as one edit of the unedited model, or the reason why there is none.

    An editor that is `batched` makes one change for all of them. Any other edits one after another,
    each in the model that has the edits before it: the result is the sum of their weight changes,
    or the last patch. v* is always searched for, since planned ones are of facts edited alone. The
    model's weights have their old bytes afterwards, also if an error is raised.
    """
    searching = replace(session, context=replace(session.context, values={}))
    if session.info.capabilities.batched:
        return _together(searching, case.facts)
    return _in_turn(searching, case.facts)


def _of_fact(number: int, reason: str) -> str:
    return f"fact {number} of the case: {reason}"


def _together(session: Session, facts: Sequence[EditRequest]) -> EditResult:
    """One change for all facts; if there is none, each is tried alone to find the one at fault."""
    start = session.editor.start
    result = session.edit(facts, start(session.context))
    if result.status == OK:
        return result
    for number, fact in enumerate(facts, 1):
        alone = session.edit([fact], start(session.context))
        if alone.status != OK:
            return EditResult(status=_of_fact(number, alone.status))
    return EditResult(status=f"the facts of the case together: {result.status}")


def _in_turn(session: Session, facts: Sequence[EditRequest]) -> EditResult:
    """One edit after another; transforms of all edits' change see the sum, as in sequences."""
    each = replace(session, transforms=[t for t in session.transforms if not t.accumulated])
    whole = replace(session, transforms=[t for t in session.transforms if t.accumulated])
    last = EditResult(state=session.editor.start(session.context))
    told: list[Mapping[str, Any]] = []
    change: Delta | None = None
    with accumulating(session.context.model) as changes:
        for number, fact in enumerate(facts, 1):
            last = each.edit([fact], last.state)
            if last.status != OK:
                return EditResult(status=_of_fact(number, last.status))
            if last.delta is not None:
                changes.add(last.delta)
                # Summed at once, since a dense change may be as large as its weight.
                change = last.delta if change is None else combine_deltas([change, last.delta])
            told.append(last.diagnostics)
    return whole.finished(replace(last, delta=change, diagnostics=_diagnostics(told)))


def _diagnostics(told: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the edits of a case report, as one: the mean of each number, and the most steps.

    The numbers of one update that have columns are left out, since there are several updates; the
    least of the denominators is `least_denominator`.
    """
    found: dict[str, list[float]] = {}
    for name, value in (number for one in told for number in one.items()):
        if value is not None:
            found.setdefault(name, []).append(float(value))
    means = {n: sum(each) / len(each) for n, each in found.items() if n not in IN_COLUMNS}
    if steps := found.get("steps"):
        means["steps"] = max(steps)
    if denominators := found.get("denominator"):
        means[LEAST_DENOMINATOR] = min(map(abs, denominators))
    return means
