"""The sections of a study that add stages: sequences, tasks, survival, layers, the mechanism."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from editcore.config.collapse import Harm
from editcore.config.messages import nearest
from editcore.config.section import Label, Natural, Positive, Section, Seed
from editcore.config.telemetry import NAMES

Treatment = Literal["8-bit", "4-bit", "8-bit-adapter", "4-bit-adapter", "pruned", "fine-tuned"]
UNTREATED = "untreated"
ADAPTER = "-adapter"  # the ending of treatments of the base alone
TREATMENTS: tuple[Treatment, ...] = get_args(Treatment)
AfterCollapse = Literal["stop", "continue"]
Arrangement = Literal["drawn", "clustered", "dispersed"]


def _measurable(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"no quantity is called {name!r}. {nearest(name, NAMES)}")
    return name


TelemetryName = Annotated[
    str, AfterValidator(_measurable), WithJsonSchema({"type": "string", "enum": [*NAMES]})
]


class SequenceSection(Section):
    """Sequential edits: one sequence per model, editor, data set and seed."""

    editors: tuple[Label, ...] | None = Field(
        default=None,
        min_length=1,
        description="Labels of editors; by default all that can edit in sequence.",
    )
    datasets: tuple[Label, ...] | None = Field(
        default=None, min_length=1, description="Labels of data sets; by default all."
    )
    edits: Positive | None = Field(
        default=None,
        description="Facts per sequence, the same number from each data set; by default as many as "
        "the smallest has.",
    )
    every: Positive = Field(default=5, description="Measure perplexity every N edits.")
    closely: Natural = Field(
        default=0,
        description="Measure it after every step up to this number of edits, too: some models are "
        "damaged by the first few.",
    )
    checks: tuple[Positive, ...] = Field(
        default=(10, 50),
        description="Also measure the efficacy of all edits so far, and locality, after these "
        "numbers of edits; always at the end.",
    )
    seeds: tuple[Seed, ...] = Field(
        default=(0,),
        min_length=1,
        description="Each seed draws facts and their order for one sequence.",
    )
    batch: Positive | Annotated[tuple[Positive, ...], Field(min_length=1)] = Field(
        default=1,
        description="Facts per step, for editors that edit several at once; of a list, each number "
        "gives a sequence of the same facts.",
    )
    arrangements: Annotated[tuple[Arrangement, ...], Field(min_length=1)] = Field(
        default=("drawn",),
        description="The order of the drawn facts, by their keys at the edited layer; of a "
        "list, each gives a sequence of the same facts. drawn: at random; clustered: each fact is "
        "followed by the one most like it; dispersed: by the one least like all before it.",
    )
    telemetry: Literal["all"] | tuple[TelemetryName, ...] = Field(
        default=(),
        description="What else to measure of the model where perplexity is measured, by name; "
        "docs/streams.md has their definitions and costs. By default nothing.",
    )
    after_collapse: AfterCollapse = Field(
        default="stop", description="Whether a sequence ends when its model has collapsed."
    )
    stop_before: Harm | None = Field(
        default=None,
        description="Measure every step, and end a sequence before this harm: a step that would "
        "damage, or collapse, its model is taken back, and none is made once a collapse is "
        "foretold (docs/streams.md).",
    )
    checkpoint: Positive = Field(
        default=20, description="Steps between checkpoints, from which an interrupted run resumes."
    )
    tasks: tuple[str, ...] = Field(
        default=(),
        description="Tasks to run on the model before the first edit and at the end, named as in "
        "`downstream`; by default none.",
    )
    task_items: Positive | None = Field(
        default=50, description="Use the first N items of each task; all if null."
    )
    task_checks: tuple[Positive, ...] = Field(
        default=(), description="Also run the tasks after these numbers of edits."
    )


class DownstreamSection(Section):
    """Tasks that are run on some edited models, to compare their scores with perplexity."""

    tasks: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Tasks: the path of a YAML file, or a name in resources/tasks or of lm-eval; "
        "by default world_cloze, world_continuations, world_fact_choices, world_passages and "
        "world_questions for bundled models, real_choices, real_cloze, real_grammar, "
        "real_passages and real_questions for others.",
    )
    count: Positive = Field(
        default=30,
        description="Edited models to test per model, spread evenly over log perplexity.",
    )
    up_to: float | None = Field(
        default=None,
        gt=1,
        description="Spread them only up to this multiple of the unedited model's perplexity, "
        "where task scores still fall; over the whole range if null.",
    )
    top: int = Field(
        default=10, ge=0, description="Further edited models, those with the highest perplexity."
    )
    drawn: int = Field(
        default=0,
        ge=0,
        description="Further edited models, drawn at random, to compare grades with scores.",
    )
    limit: Positive | None = Field(
        default=200, description="Use the first N items of each task; all if null."
    )
    resamples: Positive = Field(
        default=2000, description="Bootstrap samples for the interval of each correlation."
    )


def _each_once(chosen: tuple[Treatment, ...]) -> tuple[Treatment, ...]:
    twice = next((name for name in chosen if chosen.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice!r} is listed twice; list each treatment once")
    return chosen


class SurvivalSection(Section):
    """What is left of edits after the edited model is rounded, pruned or fine-tuned."""

    treatments: Annotated[
        tuple[Treatment, ...], AfterValidator(_each_once), Field(min_length=1)
    ] = Field(
        default=TREATMENTS,
        description="What is done to the edited models, each by itself: their weights are rounded "
        "to 8 or 4 bits, with the edit in them or, as an adapter, beside them; pruned; or "
        "fine-tuned on other text.",
    )
    cases: Positive = Field(
        default=20,
        description="Edited models of each editor and data set, spread evenly over its cases.",
    )
    pruned_share: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="The share of each linear map's weights, the smallest ones, that pruning sets "
        "to zero; embeddings and the head stay as they are.",
    )
    steps: Positive = Field(
        default=20, description="Steps of fine-tuning, each with a batch of 256 tokens."
    )
    learning_rate: float = Field(
        default=1e-4,
        gt=0,
        lt=1,
        description="The learning rate of AdamW, which fine-tunes all weights of the blocks.",
    )
    texts: str | None = Field(
        default=None,
        min_length=1,
        description="A file of texts to fine-tune on; by default that of `perplexity`. Texts that "
        "perplexity is measured on are left out.",
    )


class LayerSection(Section):
    """The keys of subjects at every layer: where on the depth the first position differs."""

    datasets: tuple[Label, ...] | None = Field(
        default=None, min_length=1, description="Labels of data sets; by default all."
    )
    cases: Positive = Field(
        default=40, description="Number of cases of each data set, spread evenly over it."
    )


class MechanismSection(Section):
    """The experiments on why edits collapse a model."""

    editor: str = Field(
        min_length=1,
        description="The label of an editor that searches for v* and reads C at one layer; its "
        "layer, search and v* are used.",
    )
    hard: str = Field(
        min_length=1, description="The label of the data set whose cases collapse models."
    )
    normal: str = Field(min_length=1, description="The label of a data set for comparison.")
    cases: Positive = Field(
        default=40, description="Number of cases of each, spread evenly over its first shard."
    )
    prefix_lengths: tuple[Natural, ...] = Field(
        default=(0, 1, 2, 4, 8, 16),
        min_length=1,
        description="Lengths in tokens of the random prefixes put before hard cases.",
    )
    encoder: str | None = Field(
        default=None,
        description="A T5 encoder for comparison: a bundled name, a folder or a hub id.",
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "collapse" in given:
            raise ValueError("`collapse` is now called `hard`; rename this key")
        return given
