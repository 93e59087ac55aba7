"""Plans the tasks on edited models."""

from collections.abc import Mapping, Sequence

from editcore.config.stages import DownstreamSection
from editcore.datasets.invented_world import downstream_tasks
from editcore.planning import paths, preflight
from editcore.planning.jobs import EditJob, ModelSpec, PerplexitySpec
from editcore.planning.stages.jobs import DownstreamJob, EditFiles


def downstream_jobs(
    choice: DownstreamSection,
    models: Sequence[ModelSpec],
    edits: Sequence[EditJob],
    perplexity: Mapping[str, PerplexitySpec],
    seed: int,
) -> dict[str, DownstreamJob]:
    """A job per model with edits, by its label; `edits` are those that are weight changes.

    Raises `ConfigError` for a task whose file or data is missing.
    """
    jobs = {}
    for model in models:
        tasks = downstream_tasks(choice.tasks, model.source)
        preflight.tasks(tasks)
        if shards := edit_files(model, edits):
            jobs[model.name] = DownstreamJob(
                model=model,
                edits=shards,
                seed=seed,
                perplexity=perplexity[model.name],
                tasks=tasks,
                **choice.model_dump(exclude={"resamples", "tasks"}),
            )
    return jobs


def edit_files(model: ModelSpec, edits: Sequence[EditJob]) -> tuple[EditFiles, ...]:
    """The files of a model's edits."""
    return tuple(
        EditFiles(rows=str(paths.edits(*job.key)), deltas=str(paths.deltas(*job.key)))
        for job in edits
        if job.model == model
    )
