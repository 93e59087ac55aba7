"""What is known about a weight change: its facts, its editor, and the verdict on it.

The editor and the model are in the metadata of the delta's file; facts and verdict are in the file
that `check --save` or `guard` wrote next to it, if that is of the same run. What neither contains
is unknown: None.
"""

import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict

from editcore.errors import EditcoreError, in_one_line, reading, require
from editcore.records import provenance

if TYPE_CHECKING:
    from editcore.updates.delta import Delta

CHECK, GUARD = "check.json", "guard.parquet"
# How far a norm computed on one device may be from that on another.
TOLERANCE = 1e-4

PartT = TypeVar("PartT", bound=BaseModel)

log = logging.getLogger(__name__)


class Known(BaseModel):
    """Base of what is kept of a change: frozen; numbers that are not finite are kept as texts."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")


class EditedFact(Known):
    """A fact that was edited; the prompt has `{}` in place of the subject."""

    prompt: str
    subject: str
    target_new: str

    def __str__(self) -> str:
        return f"{self.prompt.replace('{}', self.subject)} → {self.target_new}"


class RecordedEditor(Known):
    """The editor, with its options, and the plugin that provides it."""

    label: str
    uses: str
    options: dict[str, Any] = {}
    transforms: tuple[dict[str, Any], ...] = ()
    distribution: str = ""
    version: str = ""


class RecordedModel(Known):
    """The model that the change was made for, and how it was loaded."""

    name: str
    source: str
    dtype: str = "float32"
    device: str = "cpu"
    precision: str = "float32"


class RecordedTexts(Known):
    """The first `texts` texts of a file, on which perplexity was measured."""

    path: str
    texts: int


class RecordedVerdict(Known):
    """The grade that `check` or `guard` gave, the numbers that decided it, and their basis.

    `rule` and `measured_with`, a sentence, are None if an earlier version did not keep them.
    """

    grade: str
    perplexity: float
    perplexity_base: float
    top1_kept: float | None = None
    rule: dict[str, Any] | None = None
    measured_with: str | None = None


class Origin(Known):
    """Where a weight change is from; None for what is not known."""

    facts: tuple[EditedFact, ...] | None = None
    editor: RecordedEditor | None = None
    model: RecordedModel | None = None
    perplexity: RecordedTexts | None = None
    verdict: RecordedVerdict | None = None


def origin_of(file: Path, case: int, delta: "Delta") -> Origin:
    """What is known about the delta of one case in `file`; nothing is taken from another run."""
    job = provenance.read(file).get("job")
    if not isinstance(job, Mapping):
        return Origin()
    facts, verdict = None, None
    for name, read in ((CHECK, _checked), (GUARD, _guarded)):
        if verdict is None and (file.parent / name).is_file():
            try:
                facts, verdict = read(file.parent / name, job, case, delta)
            except EditcoreError as error:
                log.warning("what the edit did is unknown: %s", in_one_line(error))
    return Origin(
        facts=facts,
        editor=_part(RecordedEditor, job.get("editor")),
        model=_part(RecordedModel, job.get("model")),
        perplexity=_part(RecordedTexts, job.get("perplexity")),
        verdict=verdict,
    )


def entry(file: Path, case: int, origin: Origin) -> dict[str, Any]:
    """What the record of an edit contains of it: its delta, when it was applied, and its origin."""
    return {
        "delta": file.name,
        "case": case,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "origin": origin.model_dump(mode="json"),
    }


def _part(kind: type[PartT], given: object) -> PartT | None:
    """A part of a job; None if another version of editcore wrote it in another form."""
    try:
        return kind.model_validate(given)
    except ValueError:
        return None


_Found = tuple[tuple[EditedFact, ...] | None, RecordedVerdict | None]


def _checked(file: Path, job: Mapping[str, Any], case: int, delta: "Delta") -> _Found:
    """From the report of `check --save`, whose job has no name in it; the norm identifies it."""
    with reading(file, "report of a check", "run `editcore check --save` again"):
        report = json.loads(file.read_text(encoding="utf-8"))
        require(isinstance(report, dict), "it is no object")
        own = (report["model"], report["editor"], report["editor_options"], report["case_id"])
        editor = job["editor"]
        norm = float(report["delta_norm"])
        if own != (job["model"]["name"], editor["label"], editor["options"], case) or (
            not math.isclose(norm, delta.norm(), rel_tol=TOLERANCE)
        ):
            return None, None
        fact = EditedFact.model_validate(report)
        if report["grade"] is None:  # the edit was made without measuring it
            return (fact,), None
        verdict = report | {
            "rule": report["collapse"],
            "measured_with": report["measured_with"]["sentence"],
        }
        return (fact,), RecordedVerdict.model_validate(verdict)


def _guarded(file: Path, job: Mapping[str, Any], case: int, delta: "Delta") -> _Found:
    """From the table of `guard`: the facts that it accepted, and the grade after the last one."""
    from editcore.records.schemas import GUARD as SCHEMA
    from editcore.records.tables import read_provenance, read_table

    about = read_provenance(file)
    with reading(file, "provenance of a guard", "run `editcore guard` again"):
        if json.loads(about["job"]) != job:
            return None, None
    rows = [row for row in read_table(file, SCHEMA).iter_rows(named=True) if row["accepted"]]
    if not rows:
        return (), None
    measured = about.get("measured_with", {}).get("sentence")
    verdict = rows[-1] | {"rule": about.get("collapse"), "measured_with": measured}
    return (
        tuple(EditedFact.model_validate(row) for row in rows),
        RecordedVerdict.model_validate(verdict),
    )
