"""Options of EMMET; the defaults are the published ones for GPT-2 XL."""

from pydantic import Field, NonNegativeFloat

from editcore import MomentWeight, SpreadingOptions, published_layer


class EmmetConfig(SpreadingOptions):
    """EMMET (Gupta et al. 2024): MEMIT's objective with an equality for each fact.

    For one fact the change is that of C-ROME with its mean key, given the same value, and does not
    depend on `moment_weight`. One layer is published: 17 for GPT-2 XL, 5 for GPT-J and Llama 2.
    """

    moment_weight: MomentWeight = 1000.0
    norm_weight: NonNegativeFloat = Field(
        0.0,
        description="Weight of ‖Δ‖² next to that of C. Released: 0. Raise it if changes are large "
        "in directions that running text hardly uses.",
    )
    ridge: NonNegativeFloat = Field(
        0.1,
        description="For several facts, what is added to the diagonal of D = Kᵀ(λC)⁻¹K, so that "
        "similar keys do not make the change large; the larger, the less exactly each fact gets "
        "its value. Released: 0.1. Its effect grows with moment_weight, since D is inverse to it.",
    )

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, list[int]]:
        """The one layer that is published."""
        return {"layers": [published_layer(blocks)]}
