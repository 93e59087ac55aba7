"""The alarm that a sequence of edits will collapse its model: a quantity of it, and a threshold.

`editcore.collapse.stream_warning` tests what foretells a collapse; `python -m refresh.streams`
writes the best of it to the file that is read here.
"""

import importlib.resources
from collections.abc import Mapping
from typing import Any, Literal

from editcore.config.section import Section
from editcore.numbers import number

SHIPPED = "alarm.json"
# What an alarm may look at, since every sequence measures it; each increases with the risk.
Quantity = Literal["perplexity_ratio", "top1_changed", "kl_mean"]
IN_WORDS: Mapping[str, str] = {
    "perplexity_ratio": "perplexity relative to the unedited model's",
    "top1_changed": "the share of tokens with another likeliest next token",
    "kl_mean": "the mean divergence of predictions in nats",
}


class Alarm(Section):
    """Raised the first time that `predictor` reaches `threshold`; it foretells a collapse."""

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
            "a collapse is foretold"
        )


def shipped() -> Alarm:
    """The alarm that editcore provides."""
    file = importlib.resources.files("editcore.config") / SHIPPED
    return Alarm.model_validate_json(file.read_text(encoding="utf-8"))
