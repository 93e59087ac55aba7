"""Plans what is left of edits after the edited models are treated."""

from collections.abc import Mapping, Sequence

from editcore.config.stages import SurvivalSection
from editcore.datasets.bundled import data_file
from editcore.datasets.readers import read_texts
from editcore.errors import ConfigError
from editcore.planning import paths, preflight
from editcore.planning.jobs import EditJob, ModelSpec, PerplexitySpec
from editcore.planning.stages.jobs import EditedFacts, SurvivalJob, TuningSpec


def survival_jobs(
    choice: SurvivalSection,
    models: Sequence[ModelSpec],
    edits: Sequence[EditJob],
    perplexity: Mapping[str, PerplexitySpec],
    seed: int,
) -> dict[str, SurvivalJob]:
    """A job per model with edits, by its label; `edits` are those that are weight changes.

    Raises `DataError` if the file of texts is missing, and `ConfigError` if perplexity is measured
    on all of them.
    """
    jobs = {}
    for model in models:
        shards = tuple(
            EditedFacts(
                rows=str(paths.edits(*job.key)),
                deltas=str(paths.deltas(*job.key)),
                dataset=job.dataset,
            )
            for job in edits
            if job.model == model
        )
        if shards:
            jobs[model.name] = SurvivalJob(
                model=model,
                edits=shards,
                seed=seed,
                perplexity=perplexity[model.name],
                tuning=_tuning(choice, perplexity[model.name]),
                **choice.model_dump(include={"treatments", "cases", "pruned_share"}),
            )
    return jobs


def _tuning(choice: SurvivalSection, perplexity: PerplexitySpec) -> TuningSpec | None:
    """Fine-tuning on the texts that perplexity is not measured on; None without fine-tuning."""
    if "fine-tuned" not in choice.treatments:
        return None
    path = data_file(choice.texts) if choice.texts else perplexity.path
    skipped = perplexity.texts if path == perplexity.path else 0
    preflight.files([path])
    if len(read_texts(path)) <= skipped:
        raise ConfigError(
            f"perplexity is measured on all {skipped} texts of {path}, so none is left to "
            "fine-tune on; give survival.texts another file, or perplexity.texts a smaller number"
        )
    return TuningSpec(
        path=path, skipped=skipped, steps=choice.steps, learning_rate=choice.learning_rate
    )
