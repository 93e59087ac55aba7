"""Options of LyapLock; the defaults are the published ones."""

from pydantic import Field, PositiveFloat

from editcore import MomentWeight, SpreadingOptions


class LyapLockConfig(SpreadingOptions):
    """LyapLock (Wang et al. 2025): a queue weighs C more, the further a sequence is over budget.

    The released code measures two more moments of running text, of the layer's outputs v. With
    v = W₀k, as there, they follow from C and the unedited weight, so C suffices.
    """

    moment_weight: MomentWeight = 1000.0
    budget: PositiveFloat = Field(
        60.0,
        description="α, what a sequence may do to running text, as a multiple of what its first "
        "edit did: tr(E C Eᵀ) of the change E so far. Published: 60, with first edits of 100 "
        "facts. Lower it to protect running text earlier; a first edit of few facts needs more.",
    )
