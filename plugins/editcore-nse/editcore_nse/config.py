"""Options of NSE; the defaults are the published ones for GPT-2 XL."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from editcore import MomentWeight, SpreadingOptions

Share = Annotated[float, Field(gt=0, le=1)]


class NseConfig(SpreadingOptions):
    """NSE (Jiang et al. 2025): rounds of MEMIT with memory, on some neurons of each layer.

    z is searched for on the model that is edited. The paper's is of the model before any edit,
    which a sequence no longer has; for the first edit the two are one.
    """

    moment_weight: MomentWeight = 10_000.0
    rounds: PositiveInt = Field(
        3,
        description="At most this number of changes; each moves the facts that are still far from "
        "their z. Published: 3; the released code makes one less, so 2 is what it does. Each "
        "costs as much as MEMIT's, without the search.",
    )
    near: NonNegativeFloat = Field(
        35.0,
        description="Facts whose output is nearer to z than this are left as they are. Published: "
        "35 for GPT-2 XL, 15 for GPT-J, 2.5 for Llama 3; 0 edits every fact in every round. "
        "Distances are those of block outputs, so narrow models need much smaller values.",
    )
    far: PositiveFloat = Field(
        150.0,
        description="Facts whose output is at least this far from z are left out, since a change "
        "for them would be too large. Published: 150 for GPT-2 XL, 100 for GPT-J, 50 for Llama 3.",
    )
    neuron_share: Share = Field(
        1.0,
        description="At each layer only the neurons with the largest keys change: the most that "
        "together have at most this share of Σ|k| over the facts. Published: 0.8 for GPT-J, else "
        "1, which is all of them. Lower it to change fewer weights.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.near >= self.far:
            raise ValueError(f"near ({self.near:g}) must be less than far ({self.far:g})")
        return self
