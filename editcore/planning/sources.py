"""The models and data sets of a study, with the hashes of third-party code that reads them."""

from collections.abc import Sequence

from editcore.config.study import DatasetSection, ModelSection
from editcore.datasets.bundled import data_file
from editcore.errors import at
from editcore.planning import hard_cases, preflight
from editcore.planning.jobs import DatasetSpec, ModelSpec
from editcore.planning.model_types import refuse_unfit
from editcore.registry.families import family_of
from editcore.registry.registry import Registry


def model_spec(label: str, choice: ModelSection, registry: Registry) -> ModelSpec:
    """A model and its label; raises `ModelError` if its configuration rules it out."""
    options = choice.model_dump(exclude={"source", "published_moments"})
    source = choice.source or label
    config = preflight.configuration(source, choice.revision)
    refuse_unfit(label, config)
    family = family_of(str(config.get("model_type")), registry)
    code = family.foreign_code if family else ""
    return ModelSpec(name=label, source=source, family_code=code, **options)


def dataset_spec(
    label: str, choice: DatasetSection, registry: Registry, models: Sequence[ModelSpec]
) -> tuple[DatasetSpec, tuple[int, ...]]:
    """A data set and its label, and the ids of the cases that a study of `models` edits.

    Raises `DataError` if the file is missing or unusable, `PluginError` for an unknown format, and
    what `hard_cases.chosen` raises.
    """
    path = data_file(choice.path)
    found, requests = preflight.cases(path, choice.format, registry)
    if choice.only is not None:
        with at(path):
            requests = hard_cases.chosen(requests, choice.only, models)
    code = registry.dataset_formats[found].foreign_code
    spec = DatasetSpec(name=label, path=path, format=choice.format, format_code=code)
    return spec, tuple(request.case_id for request in requests[: choice.limit])
