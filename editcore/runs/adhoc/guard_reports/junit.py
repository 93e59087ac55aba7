"""Guarded edits as JUnit XML, which continuous integration shows as tests: one for each edit."""

import re
from collections import defaultdict
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from editcore.runs.adhoc.guard import Guarded, fact_of
from editcore.runs.adhoc.guard_reports.findings import Finding, findings

# Characters that XML 1.0 cannot contain, not even escaped.
IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SUITE = "editcore guard"


def junit(guarded: Guarded) -> str:
    """The document: a refused edit has failed, and one that was not tried was skipped.

    Warnings about an accepted edit are its test's output.
    """
    found: dict[int, list[Finding]] = defaultdict(list)
    for finding in findings(guarded):
        found[finding.case_id].append(finding)
    counts = {
        "tests": len(guarded.rows) + len(guarded.untried),
        "failures": len(guarded.refused),
        "errors": 0,
        "skipped": len(guarded.untried),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    root = Element("testsuites", {"name": SUITE, **numbers})
    suite = SubElement(root, "testsuite", {"name": SUITE, **numbers})
    about = {"classname": ""}
    for row in guarded.rows:
        about = {"classname": _possible(f"{row['model']}.{row['editor']}")}
        test = SubElement(suite, "testcase", about | {"name": _possible(fact_of(row))})
        _add(test, found[row["case_id"]])
    for request in guarded.untried:
        test = SubElement(suite, "testcase", about | {"name": _possible(fact_of(vars(request)))})
        SubElement(test, "skipped", {"message": _possible(f"not tried: {guarded.stopped}")})
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, "unicode")}'


def _add(test: Element, found: list[Finding]) -> None:
    """The reason of a refusal, and warnings, as JUnit has them."""
    for finding in found:
        if finding.level == "error":
            words = _possible(finding.words)
            SubElement(test, "failure", {"type": finding.rule, "message": words}).text = words
    if warnings := [f"{each.rule}: {each.words}" for each in found if each.level == "warning"]:
        SubElement(test, "system-out").text = _possible("\n".join(warnings))


def _possible(text: str) -> str:
    r"""The text with each character that XML cannot contain written out.

    >>> _possible("a\x00b")
    'a\\x00b'
    """
    return IMPOSSIBLE.sub(lambda found: ascii(found[0])[1:-1], text)
