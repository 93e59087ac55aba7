"""An editor at work on a loaded model, as a job names them: shared by all that edits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore import found_values, moments, prefixes, trained
from editcore.editors import EditContext, Editor, EditResult
from editcore.jobs import EditorJob
from editcore.models import LoadedModel, load_spec
from editcore.plugins import Registry, resolve
from editcore.transforms import BoundTransform, bind, transformed


@dataclass(frozen=True)
class Session:
    """Model and artefacts, the editor, and what is done to each of its weight changes."""

    context: EditContext
    editor: Editor[Any]
    transforms: Sequence[BoundTransform]

    @classmethod
    def open(cls, job: EditorJob, registry: Registry) -> "Session":
        """Load model, artefacts and plugins; any of them missing is an `EditcoreError`."""
        model = load_spec(job.model)
        editor = _editor(job, registry, model)
        return cls(_context(job, model, editor), editor, bind(job.editor.transforms, registry))

    def finished(self, result: EditResult) -> EditResult:
        """An edit as it is measured: transformed, and refused where it is not finite."""
        result = transformed(result, self.transforms, self.context.model)
        if result.delta is not None and not result.delta.finite():
            return EditResult(None, "the editor gave a non-finite weight change")
        return result


def _context(job: EditorJob, model: LoadedModel, editor: Editor[Any]) -> EditContext:
    layers = editor.config.edited_layers()
    return EditContext(
        model,
        prefixes.load(Path(job.prefixes)) if job.prefixes else None,
        {n: moments.load_for(model, n, Path(path)) for n, path in job.moments.items()},
        job.seed,
        {v.options: found_values.load(Path(v.path), model.device) for v in job.values},
        trained.load_for(model, layers, Path(job.trained)) if job.trained else None,
    )


def _editor(job: EditorJob, registry: Registry, model: LoadedModel) -> Editor[Any]:
    info = registry.editors[job.editor.uses].record
    config = info.config.model_validate(job.editor.options)
    for layer in config.edited_layers():
        model.layout.block(layer)
    editor: Editor[Any] = resolve(info.factory)(config)
    return editor
