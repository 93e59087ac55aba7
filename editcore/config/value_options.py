"""Options of the search for v*, declared once for all editors; imports no torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

# Named, because editors differ in its default.
ClampNormFactor = Annotated[
    float,
    Field(
        gt=0,
        description="The largest movement of v*: ‖δ‖ is kept below this multiple of the norm of "
        "what δ is added to. Published: 4 for an MLP's output, 0.75 for the output of a "
        "block, which is larger. Raise it if efficacy stays low although all steps are "
        "used; lower it if successful edits also harm other facts.",
    ),
]
"""The option that bounds δ by a multiple of the norm of what it is added to."""


class ValueSite(BaseModel):
    """Which output v* replaces: that of one block's MLP (ROME), or of the whole block (MEMIT).

    Adding δ to either changes the residual stream in the same way; what differs is the initial
    output that δ is added to.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    layer: NonNegativeInt = Field(description="The block.")
    site: Literal["mlp", "block"] = Field(
        "mlp", description="Whether v* is the output of the block's MLP or of the block."
    )


class ValueSearchOptions(BaseModel):
    """How v* is searched for; the defaults are those published for ROME on GPT-2 XL and GPT-J.

    An editor that searches for v* inherits from this and from `EditorConfig`, so that these become
    its own options, and requires `Values(self.search_at(layer))`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(
        20,
        ge=1,
        description="Maximum steps of Adam, the last without an update; time grows with them. "
        "Published: 20 to 25. Raise it if efficacy is low and the rows' `steps` reach it.",
    )
    learning_rate: float = Field(
        0.5,
        gt=0,
        description="Adam's learning rate. Published: 0.5 for models of 1.5 to 7 billion "
        "parameters. Small models need less: try 0.1 to 0.2 if the loss jumps or v* ends far "
        "from its start.",
    )
    weight_decay: float = Field(
        0.5,
        ge=0,
        description="Weight of ‖δ‖ / ‖initial‖² in the loss, the norm not squared, as released. "
        "Published: 0.5, for Llama 2 0.001. Raise it for smaller changes, at the cost of efficacy; "
        "with 0, only clamp_norm_factor limits v*.",
    )
    kl_factor: float = Field(
        0.0625,
        ge=0,
        description="Weight of the KL term that keeps what follows '{subject} is a'. Published: "
        "0.0625. Raise it if edits change other facts about the subject.",
    )
    clamp_norm_factor: ClampNormFactor = 4.0
    stop_loss: float = Field(
        0.05,
        ge=0,
        description="A case's search ends below this loss. Published: 0.05, about a probability "
        "of 0.95 for the new object. 0 uses all steps; larger values stop earlier, with weaker "
        "edits.",
    )

    agreement_steps: int | None = Field(
        None,
        ge=1,
        exclude_if=lambda steps: steps is None,
        description="If given, a case's search also ends after this many steps in which every "
        "token of the target was the likeliest under every template. Published: 4 for GPT-2 XL, 2 "
        "for Llama 3. Fewer steps make weaker and smaller edits.",
    )
    agreement: Literal["templates", "released"] = Field(
        "templates",
        exclude_if=lambda rule: rule == "templates",
        description="What counts as agreement: `templates`, as published; or `released`, as in "
        "the published code, which counts the likeliest tokens under the sampled templates and "
        "asks for as many as there are of these, so that a target of several tokens need not be "
        "right.",
    )

    def search_at(
        self,
        layer: int,
        site: Literal["mlp", "block"] = "mlp",
        sampled_templates: int | None = None,
    ) -> "ValueOptions":
        """All options that determine v*: those of the search, its place and its templates."""
        shared = {name: getattr(self, name) for name in ValueSearchOptions.model_fields}
        return ValueOptions(layer=layer, site=site, sampled_templates=sampled_templates, **shared)


class ValueOptions(ValueSearchOptions, ValueSite):
    """All options that determine v*; their hash names the folder of found values."""

    sampled_templates: int | None = Field(
        None,
        ge=0,
        exclude_if=lambda number: number is None,
        description="Context templates of the search besides the bare prompt: the last N that were "
        "sampled; null is all of them.",
    )
