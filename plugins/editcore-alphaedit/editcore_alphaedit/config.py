"""Options of AlphaEdit; the defaults are the published ones."""

from typing import Annotated

from pydantic import Field, PositiveFloat

from editcore import Prefixes, Requirement, Spectrum, SpreadingOptions, Values

Share = Annotated[float, Field(gt=0, le=1)]


class AlphaEditConfig(SpreadingOptions):
    """AlphaEdit (Fang et al. 2025, §3).

    The threshold is absolute, as published and released, so how many directions it keeps depends on
    the scale of C: with 0.02, from none at all to nearly all. An edit's diagnostics report the
    number, `kept_rank.<layer>`, its share of all, `kept_share.<layer>`, and the least eigenvalue of
    C, `least_eigenvalue.<layer>`.
    """

    threshold: PositiveFloat = Field(
        0.02,
        description="Directions whose eigenvalue of C is below this may change. Published: 0.02. "
        "If it keeps none, the message names the least eigenvalue: raise it above that, or "
        "give kept_share. Lower it to protect more of running text.",
    )
    kept_share: Share | None = Field(
        None,
        description="The share of directions that may change, those that running text uses least, "
        "in place of the threshold; independent of the scale of C. The authors describe 0.02 as "
        "about 0.7; 1 protects running text no more than l2 does.",
    )
    l2: PositiveFloat = Field(
        10.0,
        description="Weight of ‖Δ‖² against the edited keys. Published: 10 for GPT-2 XL, GPT-J and "
        "Llama 3; 1 in another release for Llama 3 and Qwen2.5. Lower it if efficacy is low.",
    )

    def requires(self) -> tuple[Requirement, ...]:
        """Context templates, z, and the eigendecomposition of C at every edited layer."""
        return (Prefixes(), Values(self.value_options()), *map(Spectrum, self.layers))
