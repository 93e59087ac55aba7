"""axe-core, which finds what keeps people from using a page, run in the browser."""

import json
from pathlib import Path
from typing import Any

import axe_core_python

from tests.report.browser import Page

SCRIPT = Path(axe_core_python.__file__).parent / "axe.min.js"
WORST = ("serious", "critical")


def findings(page: Page) -> list[str]:
    """The serious and critical findings of the open page: rule, element and reason of each.

    The page's figures are empty afterwards.
    """
    page.value(SCRIPT.read_text(encoding="utf-8") + "; 0")
    # Each figure is one image with a description; to look at its thousands of marks takes minutes.
    page.value("document.querySelectorAll('svg').forEach((figure) => figure.replaceChildren())")
    options = "{resultTypes: ['violations'], preload: false}"
    run = f"axe.run({options}).then((all) => JSON.stringify(all.violations))"
    answer = page.send("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
    found: list[dict[str, Any]] = json.loads(answer["result"]["value"])
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
        if rule["impact"] in WORST
    ]
