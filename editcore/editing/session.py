"""An editor at work on a loaded model, as a job names them: shared by all that edits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore.editing import trained
from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.editing.transforms import BoundTransform, bind, transformed
from editcore.errors import PluginError, in_one_line
from editcore.keyvalue import prefixes, second_moment, value_file
from editcore.models.loading import LoadedModel, load_spec
from editcore.planning.jobs import EditorJob
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import Registry, resolve_factory
from editcore.requests import OK
from editcore.updates.change import Change


@dataclass(frozen=True)
class Session:
    """Model and artefacts, the editor, and what is done to each of its weight changes."""

    info: EditorInfo
    context: EditContext
    editor: Editor[Any]
    transforms: Sequence[BoundTransform]

    @classmethod
    def open(cls, job: EditorJob, registry: Registry) -> "Session":
        """Load model, artefacts and plugins; any of them missing is an `EditcoreError`."""
        info = registry.editors[job.editor.uses].record
        model = load_spec(job.model, registry)
        editor = _editor(job, info, model)
        context = _context(job, model, editor)
        return cls(info, context, editor, bind(job.editor.transforms, registry))

    def finished(self, result: EditResult) -> EditResult:
        """An edit as it is measured: transformed, and a failed one where it is no edit.

        That is where it holds non-finite numbers, or not the change that the editor's capabilities
        announce.
        """
        if not isinstance(result, EditResult):
            return self._refused(f"gave {type(result).__name__}, not an EditResult")
        if result.status != OK:
            return result
        if wrong := self._wrong_kind(result):
            return self._refused(wrong)
        result = transformed(result, self.transforms, self.context.model)
        if result.change is None or result.change.finite():
            return result
        return self._refused(f"gave a non-finite {'patch' if result.patch else 'weight change'}")

    def _wrong_kind(self, result: EditResult) -> str:
        """What keeps the result from being an edit of the announced kind."""
        changes = {"weight change": result.delta, "patch": result.patch}
        wanted, other = changes if self.info.capabilities.changes_weights else reversed(changes)
        if changes[other] is not None:
            return f"gave a {other}, but its capabilities announce a {wanted}"
        if isinstance(changes[wanted], Change):
            return ""
        return f"gave neither a {wanted} nor a reason why there is none"

    def _refused(self, wrong: str) -> EditResult:
        return EditResult(status=f"the editor {self.info.name!r} {wrong}; report it to its authors")


def _context(job: EditorJob, model: LoadedModel, editor: Editor[Any]) -> EditContext:
    layers = editor.config.edited_layers()
    return EditContext(
        model,
        prefixes.load(Path(job.prefixes)) if job.prefixes else None,
        {n: second_moment.load_for(model, n, Path(path)) for n, path in job.moments.items()},
        job.seed,
        {v.options: value_file.load(Path(v.path), model.device) for v in job.values},
        trained.load_trained(model, layers, Path(job.trained)) if job.trained else None,
    )


def _editor(job: EditorJob, info: EditorInfo, model: LoadedModel) -> Editor[Any]:
    config = info.config.model_validate(job.editor.options)
    for layer in config.edited_layers():
        model.parts.block(layer)
    kind = resolve_factory(info.factory)
    try:
        editor: Editor[Any] = kind(config)
    except Exception as error:  # a third party's class may raise anything
        raise PluginError(
            f"the editor {info.name!r} cannot be made: {in_one_line(error)}"
        ) from error
    return editor
