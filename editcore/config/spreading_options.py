"""Options that editors of MEMIT's family share; imports no torch."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from editcore.config.options import (
    EditorConfig,
    Moments,
    Prefixes,
    Requirement,
    Values,
    published_layer,
)
from editcore.config.value_options import ClampNormFactor, ValueOptions, ValueSearchOptions

# Named, because editors differ in its default.
MomentWeight = Annotated[
    float,
    Field(
        gt=0,
        description="λ, the weight of C against the edited keys. Published: 20,000 for GPT-2 XL, "
        "15,000 for GPT-J, Llama 2 and Llama 3. Raise it to change other facts less; narrow models "
        "need much smaller values (tens).",
    ),
]
"""The option that weighs C against the edited keys."""


class SpreadingOptions(ValueSearchOptions, EditorConfig):
    """Options of an editor that spreads a change over several layers, as MEMIT does.

    MEMIT's papers call v* z. Subclasses add the options of their own solve, and override `requires`
    if they read other artefacts.
    """

    layers: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = Field(
        description="The blocks whose MLPs are edited, ascending; v* is the last one's output. "
        "Published: 13 to 17 for GPT-2 XL, 3 to 8 for GPT-J, 4 to 8 for Llama 2."
    )
    sampled_templates: PositiveInt = Field(
        5,
        description="Context templates besides the bare prompt: the last N that were sampled.",
    )
    clamp_norm_factor: ClampNormFactor = 0.75

    @field_validator("layers")
    @classmethod
    def _ascending(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if any(below >= above for below, above in pairwise(layers)):
            raise ValueError(
                f"layers must ascend without repeats, as in [1, 2, 3]; not {list(layers)}"
            )
        return layers

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, list[int]]:
        """Five layers: 4 to 8 of 28 to 40 blocks (Llama 2's), 13 to 17 of 48 (GPT-2 XL's)."""
        last = max(published_layer(blocks), min(8, 2 * blocks // 7))
        return {"layers": list(range(max(0, last - 4), last + 1))}

    def requires(self) -> tuple[Requirement, ...]:
        """Context templates, z, and C at every edited layer."""
        return (Prefixes(), Values(self.value_options()), *map(Moments, self.layers))

    def value_options(self) -> ValueOptions:
        """The search for z, the wanted output of the last edited block."""
        return self.search_at(self.layers[-1], "block", self.sampled_templates)

    def edited_layers(self) -> tuple[int, ...]:
        """The edited layers."""
        return self.layers
