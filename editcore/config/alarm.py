"""The alarms that end a sequence before its model is harmed: a quantity of it, and a threshold.

`editcore.collapse.stream_warning` tests what foretells harm; `python -m refresh.streams` writes the
best of it to the file that is read here.
"""

import importlib.resources
import json
from collections.abc import Mapping
from typing import Any, Literal

from editcore.config.section import Section
from editcore.numbers import number

SHIPPED = "alarm.json"
Harm = Literal["damage", "collapse"]
# What an alarm may look at, since every sequence measures it; each increases with the risk.
Quantity = Literal["perplexity_ratio", "top1_changed", "kl_mean"]
IN_WORDS: Mapping[str, str] = {
    "perplexity_ratio": "perplexity relative to the unedited model's",
    "top1_changed": "the share of tokens with another likeliest next token",
    "kl_mean": "the mean divergence of predictions in nats",
}
HARMS: Mapping[Harm, str] = {"damage": "damage", "collapse": "a collapse"}


class Alarm(Section):
    """Raised the first time that `predictor` reaches `threshold`."""

    foretells: Harm
    predictor: Quantity
    threshold: float

    def seen(self, row: Mapping[str, Any]) -> str:
        """What raises the alarm in a row of a sequence; empty if nothing does."""
        kept = row.get("top1_kept")
        known = {**row, "top1_changed": None if kept is None else 1 - kept}
        value = known.get(self.predictor)
        if value is None or value < self.threshold:
            return ""
        return (
            f"{IN_WORDS[self.predictor]} is {number(value)}, and from {number(self.threshold)} on "
            f"{HARMS[self.foretells]} is foretold"
        )


def shipped(harm: Harm) -> Alarm:
    """The alarm that editcore provides for this harm."""
    file = importlib.resources.files("editcore.config") / SHIPPED
    found = json.loads(file.read_text(encoding="utf-8"))
    return Alarm(foretells=harm, **found[harm])
