"""Options of MEMOIR; the defaults are those published for Llama 3 8B unless they say otherwise."""

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig, Prefixes, Requirement


class MemoirConfig(EditorConfig):
    """MEMOIR (Wang et al. 2025): y = W x + M (x ⊙ m), with M zero before the first edit.

    The mask m has the columns to which a fixed random permutation moves the k largest |x − x̄|; x̄
    is the mean over the tokens of the context templates. A fact trains M in the columns of its
    masks, which are stored. Later, the stored mask that shares most columns with an input's own is
    used if they share at least `threshold`·k, otherwise the memory adds nothing.

    The paper makes one mask of the mean over a prompt's tokens. Here each token is routed by its
    own input, and a fact stores the masks of the tokens that predict its target: an edited model
    may read a prompt in several passes, from a KV cache, and is not told where a prompt ends.
    """

    layer: NonNegativeInt = Field(
        description="The block whose down-projection has the memory. Published: 27 of 32."
    )
    active: float = Field(
        4096 / 14336,
        gt=0,
        le=1,
        description="k as a share of the columns. Fewer: facts disturb each other less, and each "
        "is harder to learn. Published: 4,096 of 14,336.",
    )
    threshold: PositiveFloat = Field(
        0.6,
        description="Share of k that an input's mask must have in common with a stored mask. "
        "Lower: more paraphrases are answered, and more unrelated text. Published: 0.4, for masks "
        "of a prompt's mean. A token's own input is less distinct: on the bundled Llama, the ends "
        "of paraphrases share 0.82 with an edited prompt's (median), those of neighbours 0.50, and "
        "tokens of running text 0.41, at most 0.56. Random masks share `active`.",
    )
    steps: PositiveInt = Field(30, description="Steps of gradient descent for a fact.")
    learning_rate: PositiveFloat = Field(1.0, description="The step size of gradient descent.")
    clip: PositiveFloat = Field(1.0, description="The largest norm of a gradient.")

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, int]:
        """Llama 3's depth: block 27 of 32."""
        return {"layer": 27 * blocks // 32}

    def requires(self) -> tuple[Requirement, ...]:
        """The context templates, for x̄."""
        return (Prefixes(),)

    def edited_layers(self) -> tuple[int, ...]:
        """The layer of the memory."""
        return (self.layer,)

    def active_of(self, columns: int) -> int:
        """The number k for a map with this number of columns."""
        return max(1, round(self.active * columns))
