"""Plans the comparison of keys at every layer."""

from collections.abc import Sequence

from editcore.config.messages import nearest
from editcore.config.stages import LayerSection
from editcore.errors import ConfigError
from editcore.planning import paths
from editcore.planning.cases import Cases
from editcore.planning.jobs import DatasetCases, ModelSpec
from editcore.planning.stages.jobs import LayersJob


def layers_jobs(
    choice: LayerSection, models: Sequence[ModelSpec], cases: Sequence[Cases]
) -> dict[str, LayersJob]:
    """A job per model with cases, by its label; `ConfigError` for an unknown data set."""
    known = {each.dataset.name: each for each in cases}
    for label in choice.datasets or ():
        if label not in known:
            raise ConfigError(f"no data set has the label {label!r}. {nearest(label, known)}")
    chosen = [known[label] for label in choice.datasets or known]
    sets = {
        model: tuple(
            DatasetCases(dataset=each.dataset, case_ids=each.evenly(choice.cases))
            for each in chosen
            if each.are_for(model)
        )
        for model in models
    }
    return {
        model.name: LayersJob(model=model, prefixes=str(paths.prefixes(model.name)), sets=some)
        for model, some in sets.items()
        if some
    }
