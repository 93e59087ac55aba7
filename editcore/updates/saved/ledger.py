"""The ledger of a model's folder: which edits its weights carry, in order, with what is known.

A line of the ledger is the record that `editcore apply` keeps of an edit, so ledger and weights
cannot disagree about which edits are in force, and both are copied with the folder.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from editcore.errors import ModelError, reading
from editcore.numbers import number
from editcore.planning.preflight import refuse_interrupted
from editcore.updates.saved.edit_record import HOLDS, REMEDY, applied, number_of, read_header_of
from editcore.updates.saved.origin import Origin
from editcore.updates.saved.stored_weights import stored_weights
from editcore.updates.saved.weight_digests import differing, digest_of_all, digests


@dataclass(frozen=True)
class Line:
    """One edit in force.

    `old` and `written` are the digests of the weights that it replaced, before and after;
    `unchanged` are those of all others, None in a record of an earlier version.
    """

    id: int
    when: str | None
    delta: str | None
    case: int | None
    origin: Origin
    versions: Mapping[str, str]
    old: Mapping[str, str]
    written: Mapping[str, str]
    unchanged: Mapping[str, str] | None

    @cached_property
    def weights_before(self) -> Mapping[str, str] | None:
        """The digests of all weights before the edit, if they are known."""
        return None if self.unchanged is None else {**self.unchanged, **self.old}

    @cached_property
    def weights_after(self) -> Mapping[str, str] | None:
        """The digests of all weights after it, if they are known."""
        return None if self.unchanged is None else {**self.unchanged, **self.written}

    @property
    def before(self) -> str | None:
        """SHA-256 of the model's weights before the edit."""
        return _digest(self.weights_before)

    @property
    def after(self) -> str | None:
        """SHA-256 of the model's weights after it."""
        return _digest(self.weights_after)

    def as_dict(self) -> dict[str, Any]:
        """The line as plain data for JSON."""
        return {
            "id": self.id,
            "when": self.when,
            **self.origin.model_dump(mode="json"),
            "delta": self.delta,
            "case": self.case,
            "weights": list(self.written),
            "before": self.before,
            "after": self.after,
            "versions": dict(self.versions),
        }


def _digest(weights: Mapping[str, str] | None) -> str | None:
    return None if weights is None else digest_of_all(weights)


def read_ledger(folder: Path) -> list[Line]:
    """The edits that the model in a folder carries, oldest first; none for an unedited one.

    Raises `ModelError` if there is no such folder or a change of it was interrupted, `DataError`,
    with the line's file, if a line is damaged.
    """
    if not folder.is_dir():
        raise ModelError(f"there is no folder {folder}; give the folder of a model")
    refuse_interrupted(folder)
    return [_line(file) for file in applied(folder)]


def _line(file: Path) -> Line:
    header = read_header_of(file)
    with reading(file, HOLDS, REMEDY):
        about = header.about
        unchanged = about.get("unchanged")
        return Line(
            id=number_of(file),
            when=about.get("when"),
            delta=about.get("delta"),
            case=about.get("case"),
            origin=Origin.model_validate(about.get("origin", {})),
            versions=dict(about.get("versions", {})),
            old=header.old,
            written=header.written,
            unchanged=None if unchanged is None else dict(unchanged),
        )


def disagreements(folder: Path, lines: Sequence[Line]) -> list[str]:
    """How weights and ledger disagree, in sentences; empty if they agree.

    Each edit must begin with the weights that the one before it left, and the last must have left
    the weights that are in the files now. Of records of an earlier version, only the weights that
    they replaced are known.
    """
    found = []
    for first, second in pairwise(lines):
        if names := _differing(first, second.weights_before, second.old):
            found.append(
                f"edit {second.id} began with other weights than edit {first.id} had left: "
                f"{_named(names)}"
            )
    last = lines[-1]
    now = digests(stored_weights(folder))
    if names := _differing(last, now, now):
        found.append(f"the weights are not those that edit {last.id} left: {_named(names)}")
    return found


def _differing(line: Line, weights: Mapping[str, str] | None, some: Mapping[str, str]) -> list[str]:
    """The weights that an edit left otherwise; `some` are compared if not all are known."""
    if line.weights_after is not None and weights is not None:
        return differing(line.weights_after, weights)
    left, there = line.weights_after or line.written, weights or some
    return [name for name in left if name in there and there[name] != left[name]]


def _named(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join([*names[:3], *([f"and {more} more"] if more > 0 else [])])


def page(lines: Sequence[Line]) -> str:
    """The ledger as text: a paragraph per edit."""
    return "\n\n".join("\n".join(_paragraph(line)) for line in lines)


def _paragraph(line: Line) -> Iterator[str]:
    origin, verdict = line.origin, line.origin.verdict
    when = (line.when or "at an unknown time").replace("T", " ").replace("+00:00", " UTC")
    editor = f"editor {origin.editor.label}" if origin.editor else "editor unknown"
    grade = verdict.grade if verdict else "grade unknown"
    yield f"edit {line.id}, {when}, {editor}: {grade}"
    if origin.editor and origin.editor.options:
        yield f"  options {json.dumps(origin.editor.options)}"
    if origin.facts is None:
        yield f"  facts unknown (case {line.case} of {line.delta})"
    for fact in origin.facts or ():
        yield f"  {fact}"
    yield f"  weights {_short(line.before)} → {_short(line.after)}"
    if verdict:
        change = f"{number(verdict.perplexity_base)} → {number(verdict.perplexity)}"
        yield f"  perplexity {change}. {verdict.measured_with or ''}".rstrip()


def _short(digest: str | None) -> str:
    return digest[:8] if digest else "unknown"
