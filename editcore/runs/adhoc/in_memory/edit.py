"""An edit of a model in memory, as a value: put in place for a while, continued, and measured."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from editcore.errors import RequestError
from editcore.numbers import listed, number, plural
from editcore.requests import OK, EditRequest
from editcore.runs.adhoc.check_report import CheckReport
from editcore.runs.adhoc.html import table
from editcore.runs.adhoc.in_memory import facts
from editcore.runs.adhoc.in_memory.facts import Fact
from editcore.runs.adhoc.in_memory.prepared import Prepared
from editcore.runs.edit_rows import MadeEdit
from editcore.updates.cumulative_delta import accumulating
from editcore.updates.delta import combine_deltas

if TYPE_CHECKING:
    from editcore.editing.editor import EditResult
    from editcore.updates.change import Change
    from editcore.updates.delta import Delta


@dataclass(frozen=True)
class Edit:
    """One or more facts as one change of a model, which itself stays unedited.

    If the edit could not be made, `status` is the reason and there is no change; otherwise it is
    "ok". `result` is the editor's, with the change that all `requests` make together.
    """

    requests: tuple[EditRequest, ...]
    result: "EditResult"
    seconds: float
    prepared: Prepared

    @property
    def status(self) -> str:
        """Why there is no change; "ok" if there is one."""
        return self.result.status

    @property
    def change(self) -> "Change | None":
        """The weight change or the patch, whichever there is; None for a failed edit."""
        return self.result.change if self.status == OK else None

    @property
    def delta(self) -> "Delta | None":
        """The weight change; None for a patch and for a failed edit."""
        return self.result.delta if self.status == OK else None

    @property
    def diagnostics(self) -> Mapping[str, float]:
        """What the editor reports of making the last change, such as its `denominator`."""
        return self.result.diagnostics

    def next(self, fact: Fact | Sequence[Fact]) -> "Edit":
        """The edit with one or several facts more, each edited in the model that has the others.

        It contains the whole sequence; this edit stays as it is. Raises `RequestError` if this one
        failed or the editor edits unedited models only, and `ModelError` if the model is not
        unedited now.
        """
        self.require_made()
        self.prepared.require_sequential()
        self.prepared.require_unedited()
        return made(self.prepared, facts.requests(fact, first=len(self.requests)), self)

    def check(self) -> CheckReport:
        """The verdict on the model with this edit, and what it is based on.

        The unedited model is measured first, once for all edits that share it. Of several facts,
        the last one's prompts are asked. Raises `RequestError` if the edit failed, and `ModelError`
        if the model is not unedited now.
        """
        self.require_made()
        self.prepared.require_unedited()
        request = self.requests[-1]
        report = self.prepared.report(request, MadeEdit(request, self.result, self.seconds))
        if len(self.requests) == 1:
            return report
        told = f"This edit makes {len(self.requests)} facts; the last one's prompts are asked."
        return replace(report, notes=(*report.notes, told))

    def require_made(self) -> None:
        """Raise `RequestError` with the reason for an edit that could not be made."""
        if self.change is None:
            raise RequestError(f"the edit could not be made: {self.status}")

    def __str__(self) -> str:
        """The facts and what became of them, a line each."""
        return "\n".join(f"{name}: {text}" for name, text in self._rows())

    __repr__ = __str__  # its fields have thousands of numbers

    def _repr_html_(self) -> str:
        """The same as a table, for notebooks."""
        return table(f"Edit with {self.prepared.label}", list(self._rows()))

    def _rows(self) -> Iterator[tuple[str, str]]:
        for request in self.requests:
            yield "Fact", f"{request.text} → {request.target_new}"
        yield "Outcome", self._outcome()
        if reported := [f"{n} {number(value)}" for n, value in self.diagnostics.items()]:
            yield "Editor's numbers", listed(reported)

    def _outcome(self) -> str:
        if self.change is None:
            return f"not made: {self.status}"
        if self.delta is None:
            return "made as a patch, which changes no weights"
        parameters = plural(len(self.delta.updates), "parameter")
        return f"made: a change of norm {number(self.delta.norm())} in {parameters}"


def made(prepared: Prepared, requests: Sequence[EditRequest], before: Edit | None = None) -> Edit:
    """The edit of all requests after those of `before`; the model is as it was afterwards.

    An editor that is batched makes one change for them. Any other edits one after another, up to
    the first that cannot be made.
    """
    together = prepared.session.info.capabilities.batched
    first, *others = [requests] if together else [[request] for request in requests]
    edit = _after(prepared, first, before)
    for group in others:
        if edit.change is None:
            break
        prepared.require_sequential()
        edit = _after(prepared, group, edit)
    return edit


def _after(prepared: Prepared, group: Sequence[EditRequest], before: Edit | None) -> Edit:
    """One call of the editor, in a model with the weight change so far."""
    session, started = prepared.session, time.perf_counter()
    model = session.context.model
    earlier = before.requests if before else ()
    done = before.delta if before else None
    with prepared.given.in_use(), accumulating(model) as changes:
        if done is not None:
            changes.add(done)
        state = before.result.state if before else session.editor.start(session.context)
        result = session.edit(model.posed(group), state)
    if done is not None and result.delta is not None:
        result = replace(result, delta=combine_deltas([done, result.delta]))
    return Edit((*earlier, *group), result, time.perf_counter() - started, prepared)
