"""Options of UltraEdit; the defaults are the published ones."""

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from editcore import EditorConfig

DOWN = "down"
"""The name of the down-projection, whatever a model calls it."""


class UltraEditConfig(EditorConfig):
    """UltraEdit (Gu et al. 2025): no subject, no second moments, no training.

    At every token that predicts a token of the answer, a map's input k and the gradient g of the
    loss at its output are normalised by their running mean and standard deviation. The wanted
    change of the output is −η·‖k̂‖²·ĝ, and ΔW is its ridge regression on the keys.
    """

    maps: dict[str, tuple[NonNegativeInt, ...]] = Field(
        description="The linear maps of the MLP that change, each with its layers: `down`, or the "
        "model's own name, such as `gate_proj`. Published: `down` 18 to 26 for GPT-J and 29 to 30 "
        "for Mistral 7B; `gate_proj` 11 to 15 with `up_proj` 18 to 24 for Llama 3 8B; both, 18 to "
        "26, for Qwen2.5 7B."
    )
    learning_rate: PositiveFloat = Field(
        1e-6,
        description="η. ‖k̂‖² is about the width of the map's input, so narrower models need a "
        "larger one: 1e-3 for a width of 256.",
    )
    released_chunk: PositiveInt | None = Field(
        None,
        description="null: each fact has its own loss, and variances are exact. A number: as in "
        "the released code, which sorts the facts by length, computes one mean loss for this many, "
        "and adds n times their variance instead of n − 1 times. There, a chunk with one row makes "
        "everything NaN; here it only moves the mean.",
    )

    @field_validator("maps")
    @classmethod
    def _not_empty(cls, maps: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        if not maps or not all(maps.values()):
            raise ValueError("maps must name at least one map, and a layer for each of them")
        if repeated := [name for name, layers in maps.items() if len({*layers}) < len(layers)]:
            raise ValueError(f"the layers of {repeated[0]} must not repeat")
        return maps

    @classmethod
    def for_depth(cls, blocks: int) -> dict[str, dict[str, list[int]]]:
        """GPT-J's choice: the down-projections of blocks 18 to 26 of 28."""
        last = max(0, blocks - 2)
        first = max(0, min(18 * blocks // 28, last - 1))
        return {"maps": {DOWN: list(range(first, last + 1))}}

    def edited_layers(self) -> tuple[int, ...]:
        """Every layer with a map that changes."""
        return tuple(sorted({layer for layers in self.maps.values() for layer in layers}))
