"""The texts that a study uses: for perplexity, as context prefixes, and for the second moment."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from editcore.config.published import PublishedFile
from editcore.config.section import Positive, Section

# Longer than any model's context.
PrefixTokens = Annotated[int, Field(ge=1, le=100_000)]


class PerplexitySection(PublishedFile):
    """The texts whose perplexity decides whether a model has collapsed."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="The file of texts, relative to the working directory; by default "
        "resources/world/perplexity.json for bundled models, resources/real/perplexity.json for "
        "others.",
    )
    texts: Positive = Field(default=50, description="Number of texts, from the start of the file.")


class PrefixSection(Section):
    """The context prefixes: those of a file, or else each model's own, generated once by seed."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="A file of templates to use instead of generating any, with {} in place of the "
        "prompt: one on each line, or a JSON list. The bare prompt is added.",
    )
    lengths: tuple[tuple[PrefixTokens, Positive], ...] = Field(
        default=((5, 10), (10, 10)),
        min_length=1,
        description="Pairs of length in tokens and number of prefixes to generate of that length.",
    )
    seeds: tuple[str, ...] = Field(
        default=("The", "Therefore", "Because", "I", "You"),
        min_length=1,
        description="The words that generated prefixes begin with, in turn.",
    )


class MomentSection(PublishedFile):
    """The text from which the second moment C of a layer's keys is estimated."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="The file of texts, relative to the working directory; by default "
        "resources/world/moments.json for bundled models, while others write their own texts.",
    )
    source: Literal["model"] | None = Field(
        default=None,
        description="model: each model writes its own texts, bundled or not; instead of `path`.",
    )
    tokens: Positive | None = Field(
        default=None,
        description="The maximum number of tokens used; by default 200,000 of a file, 60,000 of a "
        "model's own texts.",
    )

    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="Read no more tokens once C⁻¹k moves by less than this, in 1 − cosine, when "
        "their number doubles; by default all are read.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.named is not None and self.source is not None:
            raise ValueError(
                "a file and `source: model` are two answers to where texts are from; give one"
            )
        return self
