"""Options of ENCORE; the defaults are the published ones for GPT-2 XL."""

from pydantic import Field, NonNegativeFloat

from editcore import MomentWeight, SpreadingOptions


class EncoreConfig(SpreadingOptions):
    """ENCORE (Gupta et al. 2025): most-probable early stopping and a norm constraint.

    The paper stops the search after some steps in which the whole target is the likeliest under
    every template. The released code counts otherwise: `agreement: released`.
    """

    moment_weight: MomentWeight = 20_000.0
    norm_weight: NonNegativeFloat = Field(
        10.0,
        description="Weight of ‖Δ‖² against the edited keys. Published: 10 for GPT-2 XL, 20 for "
        "Llama 2 and Llama 3. Raise it if the norms of edited weights grow; 0 is MEMIT-Seq.",
    )
    memory: bool = Field(
        True, description="Whether the outputs at the keys of earlier edits are preserved."
    )
    agreement_steps: int | None = Field(
        4,
        ge=1,
        description="A case's search ends after this many steps in which every token of the target "
        "was the likeliest under every template. Published: 4 for GPT-2 XL, 2 for Llama 3; null "
        "never stops so. Raise it if efficacy is low.",
    )
