"""Plans what an editor learns before it edits: a job, or the file that its options name instead."""

from collections.abc import Mapping

from editcore.config.options import EditorConfig, Prefixes, Trained, needs
from editcore.datasets.bundled import data_file
from editcore.planning import paths, preflight
from editcore.planning.jobs import EditorSpec, ModelSpec, TrainJob


def planned(
    options: EditorConfig,
    model: ModelSpec,
    editor: EditorSpec,
    seed: int,
    moments: Mapping[int, str],
) -> tuple[TrainJob | None, str | None]:
    """The training that an editor's options ask for, if any, and the file that edits will read.

    Raises `DataError` where the file given instead, or one of those to learn from, is not there.
    """
    if not (asked := needs(options, Trained)):
        return None, None
    need = asked[0]
    if need.file is not None:
        file = data_file(need.file)
        preflight.files([file])
        return None, file
    data = tuple(data_file(path) for path in need.data)
    preflight.files(data)
    # Labels and options of editing are left out, so that editors that differ in them share it.
    learnt = {name: editor.options[name] for name in need.options}
    update = {"label": editor.uses, "options": learnt, "transforms": ()}
    job = TrainJob(
        model=model,
        editor=editor.model_copy(update=update),
        seed=seed,
        prefixes=str(paths.prefixes(model.name)) if needs(options, Prefixes) else None,
        moments=dict(moments),
        data=data,
    )
    return job, str(paths.trained(*job.key))
