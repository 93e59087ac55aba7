"""The models, data sets and texts of a study, with hashes of third-party code that reads them."""

import random
from collections.abc import Sequence

from editcore.config.study import (
    DatasetSection,
    ModelSection,
    MomentSection,
    PerplexitySection,
    Split,
)
from editcore.datasets.bundled import data_file
from editcore.datasets.invented_world import moment_file, perplexity_file
from editcore.errors import at
from editcore.planning import hard_cases, preflight
from editcore.planning.jobs import DatasetSpec, ModelSpec, PerplexitySpec, TextJob, TextSpec
from editcore.planning.model_types import refuse_unfit
from editcore.registry.families import family_of
from editcore.registry.registry import Registry
from editcore.sources.places import require_sha256

# Own texts cost more: a model reads a file of texts several times as fast as it writes one.
FILE_TOKENS = 200_000
OWN_TOKENS = 60_000


def model_spec(label: str, choice: ModelSection, registry: Registry) -> ModelSpec:
    """A model and its label; raises `ModelError` if its configuration rules it out."""
    options = choice.model_dump(exclude={"source", "published_moments"})
    source = choice.source or label
    require_sha256(source, choice.sha256)
    config = preflight.configuration(source, choice.revision)
    refuse_unfit(label, config)
    family = family_of(str(config.get("model_type")), registry)
    code = family.foreign_code if family else ""
    return ModelSpec(name=label, source=source, family_code=code, **options)


def dataset_spec(
    label: str, choice: DatasetSection, registry: Registry, models: Sequence[ModelSpec], seed: int
) -> tuple[DatasetSpec, tuple[int, ...]]:
    """A data set and its label, and the ids of the cases that a study of `models` edits.

    `seed` draws the halves of `split`.

    Raises `DataError` if the file is missing or unusable, `PluginError` for an unknown format, and
    what `hard_cases.chosen` raises.
    """
    path = data_file(choice.path)
    found, requests = preflight.cases(path, choice.format, registry)
    if choice.only is not None:
        with at(path):
            requests = hard_cases.chosen(requests, choice.only, models)
    if choice.split is not None:
        requests = [each for each in requests if half(seed, each.case_id) == choice.split]
    code = registry.dataset_formats[found].foreign_code
    spec = DatasetSpec(name=label, path=path, format=choice.format, format_code=code)
    return spec, tuple(request.case_id for request in requests[: choice.limit])


def half(seed: int, case_id: int) -> Split:
    """The half of a data set that a case is in; it depends on nothing else.

    >>> [half(0, case) for case in range(4, 7)]
    ['tuning', 'reported', 'reported']
    """
    return "tuning" if random.Random(f"split:{seed}:{case_id}").random() < 0.5 else "reported"


def perplexity_spec(choice: PerplexitySection, model: ModelSpec) -> PerplexitySpec:
    """The texts that a model's perplexity is measured on; `DataError` where there are too few."""
    path = data_file(perplexity_file(choice.path, model.source))
    preflight.texts(path, choice.texts)
    return PerplexitySpec(path=path, texts=choice.texts)


def moment_texts(choice: MomentSection, model: ModelSpec, seed: int) -> TextSpec | TextJob:
    """The texts that a model's second moments are estimated from, or the job that writes them.

    Raises `DataError` where a file is missing or has no texts.
    """
    file = None if choice.source else moment_file(choice.path, model.source)
    if file is None:
        return TextJob(model=model, tokens=choice.tokens or OWN_TOKENS, seed=seed)
    path = data_file(file)
    preflight.texts(path, None)
    return TextSpec(path=path, tokens=choice.tokens or FILE_TOKENS)
