"""Which texts and tasks are of the bundled models' invented world, and who is measured on them.

Other models know nothing of that world: by default their texts and tasks are of the real one.
"""

from collections.abc import Iterator
from pathlib import Path

from editcore.config.study import StudyConfig
from editcore.datasets import task_files
from editcore.datasets.bundled import data_file, is_bundled, resources_folder
from editcore.errors import ConfigError

FOLDER = "world"
PERPLEXITY = "resources/world/perplexity.json"
REAL_PERPLEXITY = "resources/real/perplexity.json"
MOMENTS = "resources/world/moments.json"
TASKS = (
    "world_cloze",
    "world_continuations",
    "world_fact_choices",
    "world_passages",
    "world_questions",
)
REAL_TASKS = ("real_choices", "real_cloze", "real_grammar", "real_passages", "real_questions")


def perplexity_file(path: str | None, source: str) -> str:
    """The texts that the perplexity of a model is measured on, where a study names `path`."""
    return path or (PERPLEXITY if is_bundled(source) else REAL_PERPLEXITY)


def moment_file(path: str | None, source: str) -> str | None:
    """The texts that C of a model is estimated from; None if it is to write its own."""
    return path or (MOMENTS if is_bundled(source) else None)


def downstream_tasks(names: tuple[str, ...] | None, source: str) -> tuple[str, ...]:
    """The tasks that edits of a model are scored in, where a study gives `names`."""
    return names or (TASKS if is_bundled(source) else REAL_TASKS)


def tasks_of(config: StudyConfig, source: str) -> list[str]:
    """The tasks that a model of the study is run on, each once."""
    edited, edits = config.downstream, config.sequences
    names = downstream_tasks(edited.tasks, source) if edited else ()
    return list(dict.fromkeys([*names, *(edits.tasks if edits else ())]))


def notes(config: StudyConfig) -> list[str]:
    """A sentence for each model that is not bundled and yet measured on the invented world.

    Perplexity, C and tasks count; which facts are edited does not.
    """
    sources = {label: model.source or label for label, model in config.models.items()}
    found = {label: list(_invented(config, source)) for label, source in sources.items()}
    return [
        f"note: {label} is not a bundled model, but is measured on the invented world, of which it "
        f"knows nothing: {', '.join(uses)}; resources/real has texts and tasks of the real world"
        for label, uses in found.items()
        if uses
    ]


def _invented(config: StudyConfig, source: str) -> Iterator[str]:
    """What of the invented world a model is measured on."""
    if is_bundled(source):
        return
    perplexity = perplexity_file(config.perplexity.named, source)
    moments = None if config.moments.source else moment_file(config.moments.named, source)
    for use, path in (("perplexity on", perplexity), ("C from", moments)):
        if path is not None and _of_the_world(path):
            yield f"{use} {path}"
    if tasks := [name for name in tasks_of(config, source) if _asks_of_the_world(name)]:
        yield f"tasks {', '.join(tasks)}"


def _asks_of_the_world(task: str) -> bool:
    try:
        return any(map(_of_the_world, task_files.files(task)))
    except ConfigError:  # planning refuses it; a report is also made where its files are not
        return False


def _of_the_world(path: str) -> bool:
    root = resources_folder()
    return root is not None and Path(data_file(path)).resolve().is_relative_to(
        (root / FOLDER).resolve()
    )
