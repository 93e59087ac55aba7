"""Editor wrappers: editors made of another editor, which they call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from editcore.config.messages import validated
from editcore.config.options import EditorConfig, EditorWrapperConfig
from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.errors import PluginError, in_one_line
from editcore.registry.hookspecs import EditorWrapperInfo
from editcore.registry.registry import Registry, resolve_factory
from editcore.requests import EditRequest

if TYPE_CHECKING:
    from torch import Tensor

    from editcore.editing.trained import TrainedParts
    from editcore.planning.jobs import TransformSpec
    from editcore.records.checkpoint import Checkpoint
    from editcore.updates.patch import Patch

OptionsT = TypeVar("OptionsT", bound=EditorWrapperConfig)


class EditorWrapper(Editor[EditorConfig], Generic[OptionsT]):
    """Base class of wrappers; as it is, it does what the editor `inner` does.

    `config` are the options of the inner editor, `options` those of the wrapper. A subclass
    overrides what it changes; one with a state of its own overrides `start`, `save_state` and
    `load_state` together. `edit_each` calls `edit` for each request; override it too where the
    inner editor's `edit_each` shares work.
    """

    def __init__(self, inner: Editor[Any], options: OptionsT) -> None:
        super().__init__(inner.config)
        self.inner = inner
        self.options = options

    def train(
        self, context: EditContext, data: Sequence[Path], checkpoint: "Checkpoint"
    ) -> "TrainedParts":
        """What the inner editor learns."""
        return self.inner.train(context, data, checkpoint)

    def start(self, context: EditContext) -> Any:
        """The inner editor's state before the first edit."""
        return self.inner.start(context)

    def save_state(self, state: Any) -> "Mapping[str, Tensor]":
        """The inner editor's state as tensors."""
        return self.inner.save_state(state)

    def load_state(self, context: EditContext, tensors: "Mapping[str, Tensor]") -> Any:
        """The inner editor's state that was saved."""
        return self.inner.load_state(context, tensors)

    def patch_of(self, context: EditContext, state: Any) -> "Patch | None":
        """The inner editor's patch."""
        return self.inner.patch_of(context, state)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """The inner editor's change."""
        return self.inner.edit(context, requests, state)


@dataclass(frozen=True)
class BoundWrapper:
    """A wrapper with its options."""

    name: str
    factory: str
    options: EditorWrapperConfig

    def around(self, editor: Editor[Any]) -> Editor[Any]:
        """The wrapped editor; `PluginError` if the factory raises or returns no `Editor`."""
        make: Callable[..., object] = resolve_factory(self.factory)
        try:
            wrapped = make(editor, self.options)
        except Exception as error:  # a third party's class may raise anything
            raise PluginError(
                f"the wrapper {self.name!r} cannot be made ({in_one_line(error)}); correct its "
                "options, or report this to its authors"
            ) from error
        if not isinstance(wrapped, Editor):
            raise PluginError(
                f"the factory {self.factory!r} of the wrapper {self.name!r} returned "
                f"{type(wrapped).__name__}, not an Editor; report this to its authors"
            )
        return wrapped


def bind_wrappers(specs: "Sequence[TransformSpec]", registry: Registry) -> tuple[BoundWrapper, ...]:
    """The wrappers among what a job names under `transforms`, the innermost first."""
    found = [(spec, registry.transforms[spec.uses].record) for spec in specs]
    return tuple(
        BoundWrapper(
            info.name,
            info.factory,
            validated(info.config, spec.options, f"options of the wrapper {info.name}"),
        )
        for spec, info in found
        if isinstance(info, EditorWrapperInfo)
    )


def wrapped(editor: Editor[Any], wrappers: Sequence[BoundWrapper]) -> Editor[Any]:
    """The editor with all wrappers around it, the first innermost."""
    for wrapper in wrappers:
        editor = wrapper.around(editor)
    return editor
