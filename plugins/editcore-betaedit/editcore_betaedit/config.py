"""Options of BetaEdit; the defaults are the released ones."""

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from editcore import Prefixes, Requirement, Spectrum, SpreadingOptions, Values


class BetaEditConfig(SpreadingOptions):
    """BetaEdit (Liu et al. 2026): AlphaEdit that also weighs C, and remakes its projector.

    The released code ends its run if a layer's change is too large; here nothing ends, since a
    study measures what such a change does.
    """

    threshold: PositiveFloat = Field(
        0.02,
        description="Directions whose eigenvalue of C, or later of the mean of C and of the edited "
        "keys, is below this may change. Published: 0.02. If it keeps none, the message names the "
        "least eigenvalue: raise it above that.",
    )
    moment_weight: NonNegativeFloat = Field(
        3000.0,
        description="λ₁, the weight of C in the solve and in the remade projector. Published: "
        "3000. Raise it to change other facts less; narrow models need much smaller values.",
    )
    l2: PositiveFloat = Field(
        10.0, description="λ₂, the weight of ‖Δ‖² against the edited keys. Published: 10."
    )
    renew_every: PositiveInt = Field(
        1000,
        description="τ: the projector is remade after this number of facts. "
        "Published: 1000. A smaller number protects recent edits sooner, at the cost of an "
        "eigendecomposition per layer each time.",
    )

    def requires(self) -> tuple[Requirement, ...]:
        """Context templates, z, and C and its eigendecomposition at every edited layer."""
        return (Prefixes(), Values(self.value_options()), *map(Spectrum, self.layers))
