"""What every editor is: a class whose edits are values, never changes left in the model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from editcore.config.options import EditorConfig
from editcore.errors import PluginError, RequestError
from editcore.requests import OK, EditRequest

if TYPE_CHECKING:
    from torch import Tensor

    from editcore.config.value_options import ValueOptions
    from editcore.editing.trained import TrainedParts
    from editcore.keyvalue.keys import KeyStrategy
    from editcore.keyvalue.prefixes import ContextPrefixes
    from editcore.keyvalue.second_moment import SecondMoment
    from editcore.keyvalue.value_file import StoredValues
    from editcore.models.architectures import ModelParts
    from editcore.models.loading import LoadedModel
    from editcore.records.checkpoint import Checkpoint
    from editcore.updates.change import Change
    from editcore.updates.delta import Delta
    from editcore.updates.patch import Patch

ConfigT = TypeVar("ConfigT", bound=EditorConfig)


@dataclass(frozen=True)
class EditContext:
    """What an editor works with: the model, and what its options asked for.

    `moments` is keyed by layer, `values` by the options of the search; it is empty where no search
    was planned for the job. `prefixes`, `trained` and `key_strategy` are None unless the editor
    requires them.
    """

    model: "LoadedModel"
    prefixes: "ContextPrefixes | None" = None
    moments: "Mapping[int, SecondMoment]" = field(default_factory=dict)
    seed: int = 0
    values: "Mapping[ValueOptions, StoredValues]" = field(default_factory=dict)
    trained: "TrainedParts | None" = None
    key_strategy: "KeyStrategy | None" = None


@dataclass(frozen=True)
class EditResult:
    """One edit as a value: a weight change or a patch, or the reason why there is none.

    `diagnostics` are numbers known from making the edit (`numerator_norm`, `denominator`, `steps`,
    …); `state` is what a sequence of edits carries to its next step. `key_strategy` names what
    chose the keys and `second_moment` is whether C entered the edit; both None for editors without
    such a choice.
    """

    delta: "Delta | None" = None
    status: str = OK
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    state: Any = None
    patch: "Patch | None" = None
    key_strategy: str | None = None
    second_moment: bool | None = None

    @property
    def change(self) -> "Change | None":
        """Whichever of the two there is."""
        return self.patch if self.delta is None else self.delta


class Editor(ABC, Generic[ConfigT]):
    """Base of every editor. Subclasses leave the model as they found it."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def train(
        self, context: EditContext, data: Sequence[Path], checkpoint: "Checkpoint"
    ) -> "TrainedParts":
        """What an editor that requires `Trained` learns of the model from files of `data`.

        It begins from `checkpoint.read()` where an earlier run was killed, keeps its progress there
        with `write_if_due`, and ends with what the whole run would have ended with.
        """
        raise PluginError(
            f"{type(self).__name__} requires trained parts but has no `train`; "
            "report this to its authors"
        )

    def start(self, context: EditContext) -> Any:
        """The state before the first edit of a sequence; None for editors that remember nothing."""
        return None

    def save_state(self, state: Any) -> "Mapping[str, Tensor]":
        """The state of a sequence as tensors, for its checkpoint; None is saved as no tensors.

        An editor whose state is neither None nor a mapping from names to tensors overrides this and
        `load_state`; until it does, a sequence of its edits is a `PluginError`.
        """
        tensors: Mapping[str, Tensor] = {} if state is None else state
        if not isinstance(tensors, Mapping) or not all(map(_is_tensor, tensors.values())):
            raise PluginError(
                f"{type(self).__name__} keeps a {type(state).__name__} during a sequence; "
                "its save_state has to turn that into tensors, and its load_state back"
            )
        return tensors

    def load_state(self, context: EditContext, tensors: "Mapping[str, Tensor]") -> Any:
        """The state that `save_state` saved."""
        return dict(tensors) or None

    @abstractmethod
    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Edit all `requests` together, on the model as it is now, into one change."""

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each request alone, each from the same weights, in the order given.

        A request that cannot be carried out gives a result whose status says why. Editors that can
        share work between independent edits override this.
        """
        for request in requests:
            try:
                yield self.edit(context, [request], self.start(context))
            except RequestError as error:
                yield EditResult(None, str(error))


def _is_tensor(value: Any) -> bool:
    # Imported late: the report reads this module's names, and needs no torch.
    from torch import Tensor

    return isinstance(value, Tensor)


def refuse_undeclared(
    editor: str, options: EditorConfig, parts: "ModelParts", change: "Change"
) -> None:
    """An editor that says which layers it edits must keep to them; a `PluginError` otherwise."""
    declared, places = options.edited_layers(), change.places(parts)
    outside = [name for name, block in places.items() if block not in declared]
    if declared and outside:
        raise PluginError(
            f"the editor {editor!r} changed {outside[0]}, outside the layers "
            f"{', '.join(map(str, declared))} that it declares; report this to its authors"
        )
