"""The search for v*: its options, declared once for all editors that search, and free of torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

# Named, because editors differ in its default.
ClampNormFactor = Annotated[
    float,
    Field(
        gt=0,
        description="The largest movement of v*: ‖δ‖ is kept below this multiple of the norm of "
        "what δ is added to. Published: 4 where that is an MLP's output, 0.75 where it is a "
        "block's, which is larger. Raise it if efficacy stays low although all steps are "
        "used; lower it if successful edits also harm other facts.",
    ),
]
"""The option that bounds δ by a multiple of the norm of what it is added to."""


class ValueSite(BaseModel):
    """Which output v* is a value of: that of one block's MLP (ROME), or of the block (MEMIT).

    Both are added to the same residual stream, so δ has the same effect; what differs is where it
    starts from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    layer: NonNegativeInt = Field(description="The block.")
    site: Literal["mlp", "block"] = Field("mlp", description="Its MLP's output, or its own.")


class ValueSearchOptions(BaseModel):
    """How v* is searched for; the defaults are those published for ROME on GPT-2 XL and GPT-J.

    An editor that searches for v* inherits this beside `EditorConfig`, which makes these options of
    its own, and asks for `Values(self.search_at(layer))`.
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

    def search_at(self, layer: int, site: Literal["mlp", "block"] = "mlp") -> "ValueOptions":
        """The whole of the search's options, those that tell found values apart."""
        shared = {name: getattr(self, name) for name in ValueSearchOptions.model_fields}
        return ValueOptions(layer=layer, site=site, **shared)


class ValueOptions(ValueSearchOptions, ValueSite):
    """Where v* is searched for and how: what a file of found values is named by."""
