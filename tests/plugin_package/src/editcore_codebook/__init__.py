"""What this distribution provides; imported when a study is planned, so it imports no torch."""

from collections.abc import Iterator

from pydantic import Field

from editcore import (
    Capabilities,
    DatasetFormatInfo,
    EditorConfig,
    EditorInfo,
    MetricInfo,
    ModelFamilyInfo,
    hookimpl,
)

EDITCORE_HOOKSPEC = 2


class CodebookConfig(EditorConfig):
    """The codebook's layer, and how its entries are made."""

    layer: int = Field(ge=0, description="The block whose MLP gets the codebook.")
    radius: float = Field(
        0.3,
        gt=0,
        description="The deferral radius of a new key, relative to the key's norm (the paper gives "
        "it in the model's own units).",
    )
    steps: int = Field(100, ge=1, description="Maximum steps of the search for a value.")
    learning_rate: float = Field(0.5, gt=0, description="Adam's learning rate in that search.")
    target_loss: float = Field(
        0.05, ge=0, description="The search ends at this mean NLL of the target's tokens, in nats."
    )

    def edited_layers(self) -> tuple[int, ...]:
        """The edited layer; one outside the model is refused before anything runs."""
        return (self.layer,)


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """One editor."""
    yield EditorInfo(
        name="codebook",
        summary="Answers from a codebook of hidden states at one layer; changes no weights.",
        paper="Hartvigsen et al. 2023, Aging with GRACE: Lifelong Model Editing with Discrete "
        "Key-Value Adaptors",
        config=CodebookConfig,
        factory="editcore_codebook.editor:CodebookEditor",
        capabilities=Capabilities(batched=True, needs_subject=False, changes_weights=False),
    )


@hookimpl
def editcore_metrics() -> Iterator[MetricInfo]:
    """One metric."""
    yield MetricInfo(
        name="fluency",
        summary="Entropy of the n-grams that the edited model generates after the edited prompt.",
        paper="Meng et al. 2022, §3.4",
        factory="editcore_codebook.fluency:fluency",
        columns=("fluency",),
    )


@hookimpl
def editcore_model_families() -> Iterator[ModelFamilyInfo]:
    """One family."""
    yield ModelFamilyInfo(
        name="starcoder2",
        summary="StarCoder 2.",
        model_types=("starcoder2",),
        blocks="model.layers",
        down="mlp.c_proj",
    )


@hookimpl
def editcore_datasets() -> Iterator[DatasetFormatInfo]:
    """One format."""
    yield DatasetFormatInfo(
        name="mquake-one-fact",
        summary="MQuAKE's records that edit one fact.",
        paper="Zhong et al. 2023, MQuAKE",
        factory="editcore_codebook.mquake:mquake",
        fields=("requested_rewrite", "questions"),
    )
