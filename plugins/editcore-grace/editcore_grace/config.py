"""Options of GRACE; the defaults are those of the authors' configuration."""

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig


class GraceConfig(EditorConfig):
    """GRACE (Hartvigsen et al. 2023): keys, values and radii at one down-projection.

    The key is the map's input at the prompt's last token; where a later input is within the radius
    of its nearest key, that key's value replaces the map's output. The authors' code looks at the
    prompt's last token alone, or replaces the tokens before it (`replace_prompt`); here every
    token is looked at, since an edited model is not told where a prompt ends.
    """

    layer: NonNegativeInt = Field(
        description="The block whose down-projection has the codebook. Published: 35 of 48 for "
        "GPT-2 XL (there at the up-projection); EasyEdit: 27 of 28 for Llama 3.2 3B, 18 of 28 for "
        "Qwen2.5 7B."
    )
    radius: PositiveFloat = Field(
        1.0,
        description="ε, the radius of a new key, in the units of the map's input. Larger: more "
        "paraphrases are answered, and more unrelated prompts.",
    )
    steps: PositiveInt = Field(100, description="Steps of Adam for a value; EasyEdit takes 50.")
    learning_rate: PositiveFloat = Field(1.0, description="Adam's learning rate.")
    start: Literal["cold", "warm"] = Field(
        "cold",
        description="A value begins at random numbers between 0 and 1, or at the map's own output.",
    )

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, int]:
        """GPT-2 XL's depth: block 35 of 48."""
        return {"layer": 35 * blocks // 48}

    def edited_layers(self) -> tuple[int, ...]:
        """The layer of the codebook."""
        return (self.layer,)
