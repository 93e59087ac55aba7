"""Plans an editor's training: a job, or the file that its options name instead."""

from collections.abc import Mapping

from editcore.config.options import Prefixes, Requiring, Trained, needs
from editcore.datasets.bundled import data_file
from editcore.planning import paths, preflight
from editcore.planning.jobs import EditorSpec, ModelSpec, TrainJob


def planned(
    options: Requiring,
    model: ModelSpec,
    editor: EditorSpec,
    seed: int,
    moments: Mapping[int, str],
    spectra: Mapping[int, str],
) -> tuple[TrainJob | None, str | None]:
    """The training job that an editor's options require, if any, and the file that edits will read.

    Raises `DataError` if the given file, or one of the training files, does not exist.
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
    # Without the label and other options, so that editors that differ only in these share it.
    learnt = {name: editor.options[name] for name in need.options}
    update = {"label": editor.uses, "options": learnt, "transforms": ()}
    job = TrainJob(
        model=model,
        editor=editor.model_copy(update=update),
        seed=seed,
        prefixes=str(paths.prefixes(model.name)) if needs(options, Prefixes) else None,
        moments=dict(moments),
        spectra=dict(spectra),
        data=data,
    )
    return job, str(paths.trained(*job.key))
