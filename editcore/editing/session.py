"""An editor at work on a loaded model, as a job names them; every command that edits uses it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from editcore.config.messages import validated
from editcore.config.options import (
    EditorConfig,
    Requiring,
    Values,
    WrappedOptions,
    key_strategy_of,
    needs,
)
from editcore.editing import diagnostics, norm_anchor, trained
from editcore.editing.editor import (
    EditContext,
    Editor,
    EditResult,
    lacking_subject,
    refuse_undeclared,
)
from editcore.editing.transforms import BoundTransform, bind, transformed
from editcore.editing.wrappers import bind_wrappers, wrapped
from editcore.errors import PluginError, in_one_line
from editcore.keyvalue import prefixes, second_moment, spectrum, value_file
from editcore.keyvalue.keys import KeyStrategy
from editcore.models.loading import Load, LoadedModel, load_spec
from editcore.planning.jobs import EditorJob
from editcore.records import digests
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import Registry, resolve_factory
from editcore.requests import OK, EditRequest
from editcore.updates.change import Change


@dataclass(frozen=True)
class Session:
    """Model and artefacts, the editor in its wrappers, and the transforms of its weight changes.

    `artefacts` has the digest of each file that the job names, by its path.
    """

    info: EditorInfo
    context: EditContext
    editor: Editor[Any]
    transforms: Sequence[BoundTransform]
    artefacts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(cls, job: EditorJob, registry: Registry, load: Load = load_spec) -> "Session":
        """Load model, artefacts and plugins; `EditcoreError` if any of them is missing."""
        info = registry.editors[job.editor.uses].record
        model = load(job.model, registry)
        config = validated(info.config, job.editor.options, f"options of {job.editor.label}")
        for layer in config.edited_layers():
            model.parts.block(layer)
        wrappers = bind_wrappers(job.editor.transforms, registry)
        editor = wrapped(make_editor(info, config), wrappers)
        asked = WrappedOptions(config, tuple(wrapper.options for wrapper in wrappers))
        context = _context(job, model, asked, registry)
        transforms = bind(job.editor.transforms, registry)
        return cls(info, context, editor, transforms, digests.of_files(job.artefacts))

    def edit(self, requests: Sequence[EditRequest], state: Any) -> EditResult:
        """The next edit of a sequence, on the model as it is now, or the reason why there is none.

        An error of the editor or of its change becomes that reason. The model stays as it is.
        """
        if refusal := next(filter(None, map(self.refusal, requests)), ""):
            return EditResult(status=refusal)
        context, options = self.context, self.editor.config
        try:
            result = self.finished(self.editor.edit(context, requests, state))
            if result.change is not None and result.status == OK:
                result.change.check(context.model.model)
                refuse_undeclared(self.info.name, options, context.model.parts, result.change)
                if result.patch is not None:
                    with result.patch.applied(context.model.model):
                        pass  # so that one that cannot be applied fails here, not when measured
        except Exception as error:  # a third party's editor may raise anything
            return EditResult(status=in_one_line(error))
        return result

    def refusal(self, request: EditRequest) -> str:
        """Why the editor cannot be asked to make an edit; empty if it can."""
        return request.flaw or lacking_subject(self.info, request)

    def finished(self, result: EditResult) -> EditResult:
        """The result after all transforms, or a failed one if it is not a valid edit.

        An edit is invalid if it holds non-finite numbers, or is not the kind of change that the
        editor's capabilities announce.
        """
        if not isinstance(result, EditResult):
            return self._refused(f"returned {type(result).__name__}, not an EditResult")
        if not isinstance(result.key_strategy, str | None):
            return self._refused("reports a key_strategy that is not a name")
        if not isinstance(result.second_moment, bool | None):
            return self._refused("reports a second_moment that is neither true nor false")
        if result.status != OK:
            return result
        if wrong := diagnostics.flaw(result.diagnostics):
            return self._refused(wrong)
        if wrong := self._wrong_kind(result):
            return self._refused(wrong)
        result = transformed(result, self.transforms, self.context.model)
        if result.change is None or result.change.finite():
            return result
        return self._refused(
            f"returned a non-finite {'patch' if result.patch else 'weight change'}"
        )

    def _wrong_kind(self, result: EditResult) -> str:
        """Why the result is not an edit of the announced kind; empty if it is one."""
        changes = {"weight change": result.delta, "patch": result.patch}
        wanted, other = changes if self.info.capabilities.changes_weights else reversed(changes)
        if changes[other] is not None:
            return f"returned a {other}, but its capabilities announce a {wanted}"
        if not isinstance(changes[wanted], Change):
            return f"returned neither a {wanted} nor a reason why there is none"
        return ""

    def _refused(self, wrong: str) -> EditResult:
        return EditResult(
            status=f"the editor {self.info.name!r} {wrong}; report this to its authors"
        )


def make_editor(info: EditorInfo, config: EditorConfig) -> Editor[Any]:
    """The editor with its options; `PluginError` if its factory raises or returns no `Editor`."""
    factory = resolve_factory(info.factory)
    try:
        editor = factory(config)
    except Exception as error:  # a third party's class may raise anything
        raise PluginError(
            f"the editor {info.name!r} cannot be made ({in_one_line(error)}); correct its options, "
            "or report this to its authors"
        ) from error
    if not isinstance(editor, Editor):
        raise PluginError(
            f"the factory {info.factory!r} of the editor {info.name!r} returned "
            f"{type(editor).__name__}, not an Editor; report this to its authors"
        )
    return editor


def resolved_key_strategy(asked: Requiring, registry: Registry) -> KeyStrategy | None:
    """The key strategy that the options require; `PluginError` if it is not installed."""
    if (name := key_strategy_of(asked)) is None:
        return None
    strategy: KeyStrategy = resolve_factory(registry.key_strategies[name].record.factory)
    return strategy


def _context(
    job: EditorJob, model: LoadedModel, asked: WrappedOptions, registry: Registry
) -> EditContext:
    layers = asked.editor.edited_layers()
    values = {v.options: value_file.load(Path(v.path), model.device) for v in job.values}
    for need in needs(asked, Values) if values else ():
        value_file.under(values, need.options)
    return EditContext(
        model,
        prefixes.load(Path(job.prefixes)) if job.prefixes else None,
        {n: second_moment.load_for(model, n, Path(path)) for n, path in job.moments.items()},
        job.seed,
        values,
        trained.load_trained(model, layers, Path(job.trained)) if job.trained else None,
        resolved_key_strategy(asked, registry),
        {
            n: spectrum.load_for(job.model, n, Path(path), Path(job.moments[n]))
            for n, path in job.spectra.items()
        },
        anchors={
            file.need: norm_anchor.load_for(job.model, file.key, Path(file.path))
            for file in job.anchors
        },
    )
