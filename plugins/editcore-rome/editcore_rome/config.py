"""Options of the ROME family; the defaults are the published ones for GPT-2-sized models."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig, Moments, Prefixes, Requirement, ValueOptions, Values

KeyStrategyName = str


class RomeConfig(EditorConfig):
    """ROME (Meng et al. 2022, appendix E.5)."""

    layer: NonNegativeInt = Field(description="The block whose MLP is edited.")
    key_strategy: KeyStrategyName = Field(
        "mixed",
        description="Which keys enter the update: mixed, prefixed, unprefixed, or a plugin's.",
    )
    second_moment: bool = Field(
        True,
        description="Multiply the key by C⁻¹, as the papers' text does; their code leaves it out.",
    )
    steps: PositiveInt = Field(
        20, description="Steps of the search for v*, the last without an update."
    )
    learning_rate: PositiveFloat = Field(
        0.5, description="Adam's learning rate in the search for v*."
    )
    weight_decay: float = Field(0.5, ge=0, description="Weight of ‖δ‖ / ‖initial‖² in the loss.")
    kl_factor: float = Field(0.0625, ge=0, description="Weight of the KL term at '{subject} is a'.")
    clamp_norm_factor: PositiveFloat = Field(
        4.0, description="‖δ‖ stays below this times ‖initial‖."
    )
    stop_loss: float = Field(0.05, ge=0, description="The search ends below this loss.")

    def requires(self) -> tuple[Requirement, ...]:
        """Context templates, v*, and C at the edited layer unless it is left out."""
        moments = (Moments(self.layer),) if self.second_moment else ()
        return (Prefixes(), Values(self.value_options()), *moments)

    def value_options(self) -> ValueOptions:
        """The search for v*, which editors that differ in their keys alone share."""
        return ValueOptions(**self.model_dump(include=set(ValueOptions.model_fields)))

    def edited_layers(self) -> tuple[int, ...]:
        """The one layer."""
        return (self.layer,)


class CRomeConfig(RomeConfig):
    """C-ROME: the mean key in both places."""

    key_strategy: Literal["prefixed"] = Field(
        "prefixed", description="Fixed: what makes it C-ROME."
    )


class PRomeConfig(RomeConfig):
    """p-ROME: the bare key in both places."""

    key_strategy: Literal["unprefixed"] = Field(
        "unprefixed", description="Fixed: what makes it p-ROME."
    )
