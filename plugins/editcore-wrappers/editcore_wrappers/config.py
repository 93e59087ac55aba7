"""Options of the wrappers; the defaults are the published ones, except where a help says so."""

from typing import Literal

from pydantic import Field, PositiveFloat

from editcore import (
    Anchor,
    ConfigError,
    EditorConfig,
    EditorWrapperConfig,
    Requirement,
)


class NasConfig(EditorWrapperConfig):
    """Norm-Anchor Scaling (Liu et al. 2026), for editors that search for v*.

    v* is the output of the MLP. If an editor searches for the output h of the block, v* is h minus
    what else the block adds up. Its norm becomes ρ, the anchor, whether it was larger or smaller.
    """

    facts: str | None = Field(
        None,
        min_length=1,
        description="The file of facts whose v* give the anchor. By default, the study's data "
        "sets, first those of their facts that the study does not edit. Published: "
        "MultiCounterFact.",
    )
    cases: int = Field(
        100,
        ge=10,
        description="Use at most this number of facts, drawn by the study's seed. Published: 1000; "
        "each costs one search.",
    )
    templates: Literal["edit", "bare"] = Field(
        "edit",
        description="Which templates the searches for the anchor use: those of the edits, so that "
        "the norms can be compared; or, as in the released code, the bare prompt alone, whose v* "
        "are somewhat smaller.",
    )
    dropped_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="The share of the facts, those with the largest norms, that is left out of the "
        "mean. Published: 0.05.",
    )
    limit: float = Field(
        2.0,
        gt=1,
        description="A v* whose norm is above this multiple of ρ is not written: it is replaced by "
        "the model's own output. Published: 2.",
    )

    def requires(self, inner: EditorConfig) -> tuple[Requirement, ...]:
        """The anchor; `ConfigError` for an editor that does not search for v*."""
        return (self.anchor(inner),)

    def anchor(self, inner: EditorConfig) -> Anchor:
        """The anchor of the search that an editor makes."""
        search = inner.value_options()
        if search is None:
            raise ConfigError(
                "nas rescales v*, and this editor does not search for v*; remove nas, or use an "
                "editor such as rome or memit"
            )
        if self.templates == "bare":
            search = search.model_copy(update={"sampled_templates": 0})
        return Anchor(search, self.cases, self.facts)


class SimIEConfig(EditorWrapperConfig):
    """Simulating Ideal Editor (Guo et al. 2025), for editors that change linear maps.

    Each edit is made on the unedited model. The sum of all changes becomes Σ Δᵢ Kᵢ Kᵢᵀ M⁻¹ with
    M = λI + Σ Kᵢ Kᵢᵀ, in which Kᵢ are the inputs of the map at all tokens of fact i: the ridge
    regression of what each single edit would have added to the map's output. A bias is a map of the
    constant 1.
    """

    ridge: PositiveFloat = Field(
        10.0,
        description="λ. Published: 10 with MEMIT; another release has 10,000 with ROME on Llama 3. "
        "Larger values weaken every edit; as λ approaches 0, an edit's own tokens get all of it.",
    )
