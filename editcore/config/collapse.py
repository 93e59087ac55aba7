"""The rule that grades edited models: when one counts as damaged, and when as collapsed."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from editcore.config.messages import validated
from editcore.config.section import Section
from editcore.numbers import number

Harm = Literal["damage", "collapse"]


class CollapseSection(Section):
    """When an edited model counts as collapsed, and when as damaged."""

    perplexity: float = Field(
        default=1000.0, gt=0, allow_inf_nan=False, description="Collapsed above this perplexity."
    )
    ratio: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Collapsed above this multiple of the unedited model's perplexity.",
    )
    verdict: Literal["ratio", "perplexity"] = Field(
        default="ratio", description="Which of the two determines the column `collapsed`."
    )
    damage: float = Field(
        default=0.08,
        gt=0,
        le=1,
        description="Damaged above this share of the perplexity texts' tokens at which the edit "
        "changes the likeliest next token.",
    )

    def limits(self, unedited: float) -> dict[str, float]:
        """The perplexity above which a model has collapsed, by the name of each threshold.

        `unedited` is the perplexity of the unedited model.

        >>> CollapseSection().limits(4.0)
        {'perplexity': 1000.0, 'ratio': 40.0}
        """
        return {"perplexity": self.perplexity, "ratio": self.ratio * unedited}

    def limit(self, unedited: float) -> float:
        """The perplexity limit that determines the verdict."""
        return self.limits(unedited)[self.verdict]

    def in_words(self) -> str:
        """That limit in words, to follow words such as "perplexity above".

        >>> CollapseSection().in_words(), CollapseSection(verdict="perplexity").in_words()
        ('10 times the unedited perplexity', '1,000')
        """
        if self.verdict == "perplexity":
            return number(self.perplexity)
        return f"{number(self.ratio)} times the unedited perplexity"

    def decisive(self) -> "CollapseSection":
        """The same rule of collapse, with all that it does not use reset to the defaults."""
        return CollapseSection(verdict=self.verdict, **{self.verdict: getattr(self, self.verdict)})


def replaced(rule: CollapseSection, given: Mapping[str, Any]) -> CollapseSection:
    """The rule with some thresholds replaced; raises `ConfigError` for an invalid value."""
    return validated(CollapseSection, {**rule.model_dump(), **given}, "these thresholds")
