"""Options of MEMIT; the defaults are the published ones for GPT-2 XL."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from editcore import EditorConfig, Moments, Prefixes, ValueOptions


class MemitConfig(EditorConfig):
    """MEMIT (Meng et al. 2023, §4 and appendix B)."""

    layers: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = Field(
        description="The blocks whose MLPs are edited, ascending; the last one's output is sought."
    )
    moment_weight: PositiveFloat = Field(
        20_000.0,
        description="λ, the weight of C against the edited keys; 15,000 is published for GPT-J.",
    )
    sampled_templates: PositiveInt = Field(
        5,
        description="Context templates used besides the bare prompt: the last of those sampled.",
    )
    steps: PositiveInt = Field(
        20, description="Steps of the search for z, the last without an update."
    )
    learning_rate: PositiveFloat = Field(
        0.5, description="Adam's learning rate in the search for z."
    )
    weight_decay: float = Field(0.5, ge=0, description="Weight of ‖δ‖ / ‖initial‖² in the loss.")
    kl_factor: float = Field(0.0625, ge=0, description="Weight of the KL term at '{subject} is a'.")
    clamp_norm_factor: PositiveFloat = Field(
        0.75, description="‖δ‖ stays below this times ‖initial‖."
    )
    stop_loss: float = Field(0.05, ge=0, description="The search ends below this loss.")

    @field_validator("layers")
    @classmethod
    def _ascending(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if any(below >= above for below, above in pairwise(layers)):
            raise ValueError(f"layers must ascend, each once, as in [1, 2, 3]; not {list(layers)}")
        return layers

    def requires(self) -> tuple[Moments | Prefixes, ...]:
        """Context templates, and C at every edited layer."""
        return (Prefixes(), *map(Moments, self.layers))

    def value_options(self) -> ValueOptions:
        """The search for z, the value of the last block's output."""
        own = self.model_dump(include=set(ValueOptions.model_fields))
        return ValueOptions(layer=self.layers[-1], site="block", **own)

    def edited_layers(self) -> tuple[int, ...]:
        """All of them."""
        return self.layers
