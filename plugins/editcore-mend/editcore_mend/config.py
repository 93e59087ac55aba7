"""Options of MEND and MALMEN: which linear maps they edit, and how their networks are trained."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from editcore import EditorConfig, Requirement, Trained

# Wider than any model; torch takes no size of 2**63 and above.
Rank = Annotated[int, Field(ge=1, le=100_000)]
_NOT_OF_TRAINING = frozenset({"trained", "data", "exclude", "scale"})


class NetworkConfig(EditorConfig):
    """What both editors have; the defaults are MEND's."""

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
    rank: Rank = Field(48, description="Rank of the network's hidden maps.")
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

    @property
    def only_down(self) -> bool:
        """Whether only the down-projections are edited, and not every linear map of the MLPs."""
        return False

    def requires(self) -> tuple[Requirement, ...]:
        """The trained network."""
        options = tuple(name for name in type(self).model_fields if name not in _NOT_OF_TRAINING)
        return (Trained(options, (self.data, *self.exclude), self.trained),)

    def edited_layers(self) -> tuple[int, ...]:
        """The edited blocks."""
        return self.layers


class MendConfig(NetworkConfig):
    """MEND (Mitchell et al. 2022); the published network has rank 1920 and edits three blocks.

    The published settings are for models a thousand times the size of the bundled ones and for
    100,000 steps of one edit each; the defaults here train in minutes on a CPU.
    """

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, list[int]]:
        """The last three layers, as published."""
        return {"layers": list(range(max(0, blocks - 3), blocks))}


class MalmenConfig(NetworkConfig):
    """MALMEN (Tan et al. 2024): one change for many facts, whose network is trained on batches.

    A network turns the key and the gradient at each target token into the wanted difference of the
    map's output there, and ΔW is the ridge regression of all tokens' differences on their keys.
    Published: rank 1920, 512 facts in a batch, η 1e-6 and Adam's rate 1e-5 at first, both weights
    1, one pass over zsRE. The defaults here are for the bundled models, and train in about a minute
    on a CPU.
    """

    layers: tuple[NonNegativeInt, ...] = Field(
        min_length=1,
        description="The blocks whose MLPs are edited; published: the last six (22 to 27 of "
        "GPT-J). More blocks hold more facts, and disturb more of the model.",
    )
    maps: Literal["down", "all"] = Field(
        "down",
        description="The linear maps that change: `down`, the down-projections, as published; "
        "`all`, every map of the MLPs, if the former cannot express the facts. Maps of another "
        "shape need a network of their own.",
    )
    rank: Rank = Field(
        48,
        description="Rank of the network's hidden maps; published: 1920. Memory and time of "
        "training grow with it.",
    )
    steps: PositiveInt = Field(200, description="Maximum steps of Adam.")
    batch: PositiveInt = Field(
        32,
        description="Facts that one change edits in a step of training; published: 512. Choose "
        "about as many as an edit will have: a network that was trained on few lets many disturb "
        "each other, one that was trained on many edits single facts more strongly than needed. A "
        "step has at most half of the training facts.",
    )
    paraphrases: PositiveInt = Field(
        1, description="Paraphrases per fact in the edit loss; published: 1."
    )
    neighbours: PositiveInt = Field(
        2, description="Other facts per fact in the locality loss; published: 1."
    )
    learning_rate: PositiveFloat = Field(
        1e-3,
        description="Adam's learning rate for the network; published: 1e-5, for rank 1920 and "
        "thousands of batches.",
    )
    step_learning_rate: PositiveFloat = Field(
        1e-2, description="Adam's rate for the log of each η and for each θ."
    )
    initial_step: PositiveFloat = Field(
        1e-3,
        description="Initial η of each map; published: 1e-6. Wide maps need a small one, since the "
        "first difference is η times about the sum of a key's standard deviations. If the first "
        "validations raise the locality loss, lower it; if the edit loss stays, raise it.",
    )
    initial_ridge: PositiveFloat = Field(
        1.0,
        description="Initial e^θ of each map, as published; training adapts it. The larger it is "
        "next to a key's squared norm, the smaller the change and the less facts share.",
    )
    edit_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the edit loss; published: 1. Lower it for better locality."
    )
    locality_weight: NonNegativeFloat = Field(
        1.0, description="Weight of the KL loss; published: 1."
    )
    validate_every: PositiveInt = Field(25, description="Steps between two validations.")

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, list[int]]:
        """The last six layers, as published, but at most the later half of a shallow model."""
        return {"layers": list(range(blocks - min(6, (blocks + 1) // 2), blocks))}

    @property
    def only_down(self) -> bool:
        """Whether only the down-projections are edited, and not every linear map of the MLPs."""
        return self.maps == "down"
