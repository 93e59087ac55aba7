"""Options of fine-tuning; the defaults are the published ones for GPT-2 XL."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig

LossName = Literal["teacher_forced", "last_prompt_token"]


class FtConfig(EditorConfig):
    """FT-L (Meng et al. 2022, appendix E.1): Adam on one down-projection, kept in an ℓ∞ ball.

    `loss` decides at which positions a target's tokens are scored. With `teacher_forced`, as in the
    papers' text, it is −log P of the new object after the prompt: each token after those before it.
    With `last_prompt_token`, as in the code released with ROME and with the studies of collapse,
    all tokens of the target are scored at the prompt's last token. For one token, both are equal.
    """

    layer: NonNegativeInt = Field(description="The block whose MLP is fine-tuned.")
    steps: PositiveInt = Field(25, description="Maximum steps of Adam.")
    learning_rate: PositiveFloat = Field(5e-4, description="Adam's learning rate.")
    norm_constraint: PositiveFloat | None = Field(
        5e-4, description="The largest change of each number from its original; null: no limit."
    )
    stop_loss: float = Field(1e-2, ge=0, description="No step is taken below this loss.")
    loss: LossName = Field(
        "teacher_forced",
        description="Predict each target token at its own position, or, as in the released code, "
        "all of them at the last_prompt_token.",
    )

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, int]:
        """Three quarters of the depth, at most layer 21; published: 21 of 28 and of 32 blocks."""
        return {"layer": min(21, 3 * blocks // 4)}

    def edited_layers(self) -> tuple[int, ...]:
        """The edited layer."""
        return (self.layer,)


class FtUnconstrainedConfig(FtConfig):
    """FT without the bound."""

    norm_constraint: None = Field(None, description="Fixed: this editor is unconstrained.")
