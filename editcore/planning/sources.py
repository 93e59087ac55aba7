"""The models and texts of a study, with a hash of third-party code that provides a family."""

from pathlib import Path

from editcore.config.study import ModelSection
from editcore.config.texts import MomentSection, PerplexitySection, PrefixSection
from editcore.datasets.invented_world import moment_file, perplexity_file
from editcore.datasets.templates import read_templates
from editcore.planning import preflight
from editcore.planning.jobs import ModelSpec, PerplexitySpec, PrefixJob, TextJob, TextSpec
from editcore.planning.model_types import refuse_unfit
from editcore.registry.families import family_of
from editcore.registry.registry import Registry
from editcore.sources.places import require_sha256
from editcore.sources.published import local_file

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
    if choice.chat:
        preflight.require_chat(label, source, choice.revision)
    family = family_of(str(config.get("model_type")), registry)
    code = family.foreign_code if family else ""
    return ModelSpec(name=label, source=source, family_code=code, **options)


def perplexity_spec(choice: PerplexitySection, model: ModelSpec) -> PerplexitySpec:
    """The texts that a model's perplexity is measured on; `DataError` where there are too few."""
    path = local_file(choice, perplexity_file(choice.named, model.source))
    preflight.texts(path, choice.texts)
    return PerplexitySpec(path=path, texts=choice.texts)


def prefix_job(choice: PrefixSection, model: ModelSpec, seed: int) -> PrefixJob:
    """The job of a model's context prefixes; `DataError` where a file of them has none."""
    if choice.path is not None:
        read_templates(Path(choice.path))
    return PrefixJob(model=model.plain, prefixes=choice, seed=seed)


def moment_texts(choice: MomentSection, model: ModelSpec, seed: int) -> TextSpec | TextJob:
    """The texts that a model's second moments are estimated from, or the job that writes them.

    Raises `DataError` where a file is missing or has no texts.
    """
    file = None if choice.source else moment_file(choice.named, model.source)
    if file is None:
        return TextJob(model=model, tokens=choice.tokens or OWN_TOKENS, seed=seed)
    path = local_file(choice, file)
    preflight.texts(path, None)
    return TextSpec(path=path, tokens=choice.tokens or FILE_TOKENS)
