"""Options of LoRA; the defaults are those with which EasyEdit runs it as a baseline."""

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from editcore import EditorConfig


class LoraEditConfig(EditorConfig):
    """LoRA (Hu et al. 2021): ΔW = (α / rank)·B·A for each target map, trained by Adam.

    B begins at zero, so training begins at the unedited model. A step takes all facts of a batch;
    the loss is the mean over facts of the mean NLL of their target's tokens. Each edit of a
    sequence trains a new adapter on the weights with all earlier ones merged.
    """

    rank: PositiveInt = Field(
        8,
        le=100_000,
        description="Rank of each map's change. A higher one fits more facts, and forgets more.",
    )
    alpha: PositiveInt = Field(
        32, description="α. The change is multiplied by α / rank, which acts as a learning rate."
    )
    dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the adapters' inputs that are dropped while they train.",
    )
    learning_rate: PositiveFloat = Field(5e-3, description="Adam's learning rate.")
    steps: PositiveInt = Field(70, description="Maximum steps; EasyEdit takes 60 or 70.")
    stop_loss: float = Field(
        1e-2, ge=0, description="Training ends below this loss, in nats; 0 takes all steps."
    )
    targets: tuple[str, ...] | None = Field(
        None,
        description="Names of the linear maps that change, such as `down_proj`, or `mlp.c_proj` if "
        "a block has two of one name. null: attention's query and value projections, as published, "
        "or in models that have one, the map that computes query, key and value together.",
    )
    layers: tuple[NonNegativeInt, ...] | None = Field(
        None, description="The blocks that change. null: all, as published."
    )

    @field_validator("targets", "layers")
    @classmethod
    def _not_empty(cls, values: tuple[object, ...] | None) -> tuple[object, ...] | None:
        if values is not None and (not values or len({*values}) < len(values)):
            raise ValueError("give at least one, and none twice; null takes the default")
        return values

    def edited_layers(self) -> tuple[int, ...]:
        """The layers that the options name; none if all blocks change."""
        return self.layers or ()
