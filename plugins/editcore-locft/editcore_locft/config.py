"""Options of LocFT-BF; the defaults are those published for Llama 3 8B."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig


class LocftConfig(EditorConfig):
    """LocFT-BF (Yang et al. 2025): Adam on one matrix or block, breadth-first over all facts.

    Every epoch goes through all facts once, in shuffled mini-batches. A target ends with the
    end-of-text token, so that the edited model stops after it. There is no bound on the change.
    """

    layer: NonNegativeInt = Field(
        description="The block that is tuned. Published: 22 of Llama 3 8B, 6 of Qwen2.5 7B, "
        "23 of Mistral 7B (the whole block)."
    )
    tuned: Literal["down", "block"] = Field(
        "down",
        description="Tune the MLP's down-projection alone, or every parameter of the block, as "
        "published for Mistral 7B; the change of a block takes several times the memory.",
    )
    epochs: PositiveInt = Field(25, description="Maximum passes over all facts.")
    batch_size: PositiveInt = Field(100, description="Facts in a mini-batch, one step of Adam.")
    learning_rate: PositiveFloat = Field(
        5e-4, description="Adam's learning rate; 5e-5 is published for Mistral 7B."
    )
    stop_loss: float = Field(
        1e-2,
        ge=0,
        description="Below this loss, a mini-batch takes no step; an epoch whose mean loss is "
        "below it is the last.",
    )

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, int]:
        """Llama 3's depth: block 22 of 32."""
        return {"layer": 22 * blocks // 32}

    def edited_layers(self) -> tuple[int, ...]:
        """The tuned layer."""
        return (self.layer,)
