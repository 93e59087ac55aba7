"""Options of the transforms; the defaults are the authors'."""

from typing import Literal

from pydantic import Field

from editcore import TransformConfig


class RectConfig(TransformConfig):
    """RECT (Gu et al. 2024): a change is kept only where it is large relative to the weight."""

    keep: float = Field(
        0.2,
        gt=0,
        le=1,
        description="The share of each parameter's numbers that is kept. The authors keep 0.2; the "
        "copy in AlphaEdit's code, which its results are from, keeps 0.4.",
    )


class SphereConfig(TransformConfig):
    """SPHERE (Liu et al. 2025): a change keeps away from the directions in which neurons crowd.

    These are the main eigenvectors U of the second moment of the weight's rows, each scaled to
    length 1, and ΔW becomes ΔW (I − α·U Uᵀ).
    """

    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="U are the fewest main eigenvectors whose eigenvalues make up more than this "
        "share of the trace.",
    )
    suppression: float = Field(
        0.5, ge=0, le=1, description="α: 0 leaves the change as it is, 1 removes its part along U."
    )


Restraint = Literal["log", "log2", "log1_5", "log1_2", "linear"]


class PruneConfig(TransformConfig):
    """PRUNE (Ma et al. 2025): singular values above the unedited weight's largest one, σ, shrink.

    It is applied to the change that all edits of a sequence make together, when the model is
    measured; edits are made on the model without it.
    """

    function: Restraint = Field(
        "log",
        description="What a singular value s ≥ σ becomes: log_b(s) − log_b(σ) + σ with base e, 2, "
        "1.5 or 1.2, or the mean of s and σ (linear). Smaller bases restrain less, and enlarge "
        "values between σ and about 1/ln b, which is 5.5 for 1.2. The base was chosen per model; "
        "the choices are not published.",
    )
