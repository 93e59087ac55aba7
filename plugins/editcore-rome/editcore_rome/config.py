"""Options of the ROME family; the defaults are the published ones for GPT-2-sized models."""

from typing import Literal

from pydantic import Field, NonNegativeInt

from editcore import (
    EditorConfig,
    Keys,
    Moments,
    Prefixes,
    Requirement,
    ValueOptions,
    Values,
    ValueSearchOptions,
)


class RomeConfig(ValueSearchOptions, EditorConfig):
    """ROME (Meng et al. 2022, appendix E.5)."""

    layer: NonNegativeInt = Field(
        description="The block whose MLP is edited. Published: 17 of 48 for GPT-2 XL, 5 of 28 for "
        "GPT-J, 5 of 32 for Llama 2; for another model try blocks in its first half and keep the "
        "one with the highest efficacy and locality."
    )
    key_strategy: str = Field(
        "mixed",
        description="The keys of the update: mixed (as released; collapses models if the "
        "subject opens the prompt), prefixed, unprefixed, or a plugin's.",
    )
    second_moment: bool = Field(
        True,
        description="Whether the key is multiplied by C⁻¹. The papers' text does so, and it "
        "protects other facts; their released configurations omit it, so they do not need C.",
    )

    def requires(self) -> tuple[Requirement, ...]:
        """Context templates, v*, the key strategy, and, with `second_moment`, C at the layer."""
        moments = (Moments(self.layer),) if self.second_moment else ()
        return (Prefixes(), Values(self.value_options()), Keys(self.key_strategy), *moments)

    def value_options(self) -> ValueOptions:
        """The search for v*, which editors that differ only in their keys share."""
        return self.search_at(self.layer)

    def edited_layers(self) -> tuple[int, ...]:
        """The edited layer."""
        return (self.layer,)


class CRomeConfig(RomeConfig):
    """C-ROME: the mean key in both places."""

    key_strategy: Literal["prefixed"] = Field(
        "prefixed", description="Fixed: this editor is C-ROME."
    )


class PRomeConfig(RomeConfig):
    """p-ROME: the bare key in both places."""

    key_strategy: Literal["unprefixed"] = Field(
        "unprefixed", description="Fixed: this editor is p-ROME."
    )
