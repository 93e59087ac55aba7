"""Guarded edits as SARIF 2.1.0 (OASIS 2020), which code hosts show at the lines of a change."""

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from editcore.datasets.located import Located
from editcore.runs.adhoc.guard import Guarded, fact_of
from editcore.runs.adhoc.guard_reports.findings import RULES, findings

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif(guarded: Guarded, facts: Iterable[Located]) -> str:
    """The document: a result for each finding, at the fact's record in its file."""
    places = {each.request.case_id: each for each in facts}
    words = {row["case_id"]: fact_of(row) for row in guarded.rows}
    rules = list(RULES)
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": rules.index(finding.rule),
            "level": finding.level,
            "message": {"text": f"{words[finding.case_id]}: {finding.words}"},
            "locations": [_location(places[finding.case_id])],
        }
        for finding in findings(guarded)
    ]
    run = {
        "tool": {"driver": _driver()},
        "invocations": [{"executionSuccessful": True, **_notes(guarded)}],
        "results": results,
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _driver() -> dict[str, Any]:
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in RULES.items()]
    return {"name": "editcore", "version": version("editcore"), "rules": rules}


def _notes(guarded: Guarded) -> dict[str, Any]:
    """What concerns no single edit: the notes, and why edits were not tried."""
    end = f"No further edits were tried, because {guarded.stopped}."
    notes = [*guarded.notes, *([end] if guarded.stopped else [])]
    told = [{"level": "note", "message": {"text": text}} for text in notes]
    return {"toolExecutionNotifications": told}


def _location(fact: Located) -> dict[str, Any]:
    region = {} if fact.line is None else {"region": {"startLine": fact.line}}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(fact.path)}, **region}}


def _uri(path: Path) -> str:
    """A path as a URI: relative to the working directory if it is inside, as code hosts need."""
    here = Path.cwd()
    if path.is_absolute() and not path.is_relative_to(here):
        return path.as_uri()
    return quote((path.relative_to(here) if path.is_absolute() else path).as_posix())
