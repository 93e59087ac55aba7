"""Options of MEND: which MLPs it edits, and how its network is trained."""

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig, Requirement, Trained

_NOT_OF_TRAINING = frozenset({"trained", "data", "exclude", "scale"})


class MendConfig(EditorConfig):
    """MEND (Mitchell et al. 2022); the published network has rank 1920 and edits three blocks.

    The published settings are for models a thousand times the size of the bundled ones and for
    100,000 steps of one edit each; the defaults here train in minutes on a CPU.
    """

    layers: tuple[NonNegativeInt, ...] = Field(
        min_length=1, description="The blocks whose MLPs are edited; published: the last three."
    )
    trained: str | None = Field(
        None,
        min_length=1,
        description="A file of trained parameters, written by `editcore train`, to use instead "
        "of training; relative to the working directory.",
    )
    scale: PositiveFloat = Field(1.0, description="Factor applied to every change after training.")
    data: str = Field(
        "resources/world/facts.json", min_length=1, description="The facts to train on."
    )
    exclude: tuple[str, ...] = Field(
        ("resources/world/hard.json", "resources/world/normal.json"),
        description="Files of facts whose subjects are not used for training.",
    )
    held_out: float = Field(
        0.3,
        gt=0,
        lt=1,
        description="Share of the remaining subjects held out from training; half of them decide "
        "when training ends, the others test the result.",
    )
    rank: PositiveInt = Field(48, description="Rank of the network's hidden maps.")
    steps: PositiveInt = Field(1000, description="Maximum steps of Adam.")
    batch: PositiveInt = Field(16, description="Edits in one step.")
    paraphrases: PositiveInt = Field(2, description="Paraphrases per edit in the edit loss.")
    neighbours: PositiveInt = Field(3, description="Other facts per edit in the locality loss.")
    learning_rate: PositiveFloat = Field(1e-3, description="Adam's learning rate for the network.")
    step_learning_rate: PositiveFloat = Field(
        1e-2, description="Adam's rate for the log of each α."
    )
    initial_step: PositiveFloat = Field(1e-3, description="Initial value of each α.")
    edit_weight: NonNegativeFloat = Field(0.1, description="c_e: weight of the edit loss.")
    locality_weight: NonNegativeFloat = Field(1.0, description="c_loc: weight of the KL loss.")
    validate_every: PositiveInt = Field(100, description="Steps between two validations.")
    patience: PositiveInt = Field(
        5, description="Validations without improvement before training stops."
    )

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, list[int]]:
        """The last three layers, as published."""
        return {"layers": list(range(max(0, blocks - 3), blocks))}

    def requires(self) -> tuple[Requirement, ...]:
        """The trained network."""
        options = tuple(name for name in type(self).model_fields if name not in _NOT_OF_TRAINING)
        return (Trained(options, (self.data, *self.exclude), self.trained),)

    def edited_layers(self) -> tuple[int, ...]:
        """The edited blocks."""
        return self.layers
