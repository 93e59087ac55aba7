"""Options of PMET; the defaults are those published for Llama 2."""

from typing import Annotated, Self

from pydantic import Field, NonNegativeFloat, model_validator

from editcore import (
    ClampNormFactor,
    Moments,
    MomentWeight,
    Prefixes,
    Requirement,
    SpreadingOptions,
    ValueOptions,
)

Share = Annotated[float, Field(gt=0, le=1)]


class PmetConfig(SpreadingOptions):
    """PMET (Li et al. 2024).

    The released code compares the KL term with `stop_kl` after multiplying it by `kl_factor`; to
    get that, divide `stop_kl` by `kl_factor`.
    """

    moment_weight: MomentWeight = 15_000.0
    clamp_norm_factor: ClampNormFactor = 1.0
    agreed_weight: Share = Field(
        0.1,
        description="Weight of the target's loss in the step after one in which the whole target "
        "was the likeliest under every template, so that the search then mends what else it moved. "
        "Released: 0.1; 1 keeps the weight.",
    )
    stop_kl: NonNegativeFloat = Field(
        0.01,
        description="The search ends in a step in which the whole target is the likeliest under "
        "every template and the KL divergence after '{subject} is a' is at most this. Published: "
        "0.01. Raise it to stop earlier; 0 uses all steps.",
    )

    def requires(self) -> tuple[Requirement, ...]:
        """Context templates, and C at every edited layer; v* is of a search of its own."""
        return (Prefixes(), *map(Moments, self.layers))

    def value_options(self) -> ValueOptions:
        """The place of the value, which is an MLP's output, and the options of a search there."""
        return self.search_at(self.layers[-1], "mlp", self.sampled_templates)

    @model_validator(mode="after")
    def _own_stop(self) -> Self:
        if self.agreement_steps is not None:
            raise ValueError("the search of PMET ends by stop_kl; leave agreement_steps out")
        return self
