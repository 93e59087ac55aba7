"""The base class of editors: their edits are values, never changes left in the model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from editcore.config.options import Anchor, EditorConfig
from editcore.errors import PluginError, RequestError
from editcore.requests import OK, EditRequest

if TYPE_CHECKING:
    from torch import Tensor

    from editcore.config.value_options import ValueOptions, ValueSite
    from editcore.editing.norm_anchor import NormAnchor
    from editcore.editing.trained import TrainedParts
    from editcore.keyvalue.keys import KeyStrategy
    from editcore.keyvalue.prefixes import ContextPrefixes
    from editcore.keyvalue.second_moment import SecondMoment
    from editcore.keyvalue.spectrum import MomentSpectrum
    from editcore.keyvalue.value import Value
    from editcore.keyvalue.value_file import StoredValues
    from editcore.models.architectures import ModelParts
    from editcore.models.loading import LoadedModel
    from editcore.records.checkpoint import Checkpoint
    from editcore.registry.hookspecs import EditorInfo
    from editcore.updates.change import Change
    from editcore.updates.delta import Delta
    from editcore.updates.patch import Patch

ConfigT = TypeVar("ConfigT", bound=EditorConfig)
AdjustValues = Callable[
    ["LoadedModel", Sequence[EditRequest], "Sequence[Value | str]", "ValueSite"],
    "list[Value | str]",
]
"""Replaces v* of requests, each found at the given site, before the model is changed.

A string is the reason why there is no v*.
"""


@dataclass(frozen=True)
class EditContext:
    """What an editor works with: the model, and the artefacts that its options require.

    `moments` and `spectra` are keyed by layer, `values` by the options of the search, and `anchors`
    by the requirement; `values` is empty if no search was planned for the job. `prefixes`,
    `trained` and `key_strategy` are None unless they are required. `adjust_values` is what wrappers
    do to v* before it is written.
    """

    model: "LoadedModel"
    prefixes: "ContextPrefixes | None" = None
    moments: "Mapping[int, SecondMoment]" = field(default_factory=dict)
    seed: int = 0
    values: "Mapping[ValueOptions, StoredValues]" = field(default_factory=dict)
    trained: "TrainedParts | None" = None
    key_strategy: "KeyStrategy | None" = None
    spectra: "Mapping[int, MomentSpectrum]" = field(default_factory=dict)
    adjust_values: AdjustValues | None = None
    anchors: "Mapping[Anchor, NormAnchor]" = field(default_factory=dict)

    def adjusting(self, adjust: AdjustValues) -> "EditContext":
        """The context in which v* is first adjusted by this function, and then as it is now."""
        after = self.adjust_values
        if after is None:
            return replace(self, adjust_values=adjust)

        def both(
            model: "LoadedModel",
            requests: Sequence[EditRequest],
            values: "Sequence[Value | str]",
            site: "ValueSite",
        ) -> "list[Value | str]":
            return after(model, requests, adjust(model, requests, values, site), site)

        return replace(self, adjust_values=both)


@dataclass(frozen=True)
class EditResult:
    """One edit as a value: a weight change or a patch, or the reason why there is none.

    `diagnostics` are numbers known from making the edit: `numerator_norm`, `denominator`,
    `key_match` and `steps` have columns, all others are in the column `diagnostics`. `state` is
    passed to the next edit of a sequence. `key_strategy` is the name of the strategy that chose the
    keys, and `second_moment` whether C was used; both are None for editors without such a choice.
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
        """The weight change or the patch, whichever there is; None for a failed edit."""
        return self.patch if self.delta is None else self.delta


class Editor(ABC, Generic[ConfigT]):
    """Base class of all editors. Subclasses leave the model as they found it."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def train(
        self, context: EditContext, data: Sequence[Path], checkpoint: "Checkpoint"
    ) -> "TrainedParts":
        """Learn about the model from the files in `data`, if the editor requires `Trained`.

        An implementation resumes from `checkpoint.read()`, saves its progress with `write_if_due`,
        and returns the same whether or not it was interrupted.
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

        An editor whose state is neither None nor a mapping from names to tensors must override this
        and `load_state`; otherwise this raises `PluginError`.
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

    def patch_of(self, context: EditContext, state: Any) -> "Patch | None":
        """The patch with all edits of a sequence, from its state; None for changes of weights.

        With it, an interrupted sequence of patches resumes from its last checkpoint; an editor of
        patches without it starts over.
        """
        return None

    @abstractmethod
    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """One change that makes all `requests` together, for the model as it is now."""

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Edit each request alone, each from the same weights, in the order given.

        A request that cannot be carried out gives a result whose status is the reason. Editors that
        can share work between independent edits override this.
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


def lacking_subject(info: "EditorInfo", request: EditRequest) -> str:
    """Why an editor cannot edit a fact that names no subject; empty if it can."""
    if request.names_subject or not info.capabilities.needs_subject:
        return ""
    return (
        f"the fact names no subject, and the editor {info.name!r} needs one; name it, or use an "
        "editor that needs none"
    )


def refuse_undeclared(
    editor: str, options: EditorConfig, parts: "ModelParts", change: "Change"
) -> None:
    """Raise `PluginError` for a change outside the layers that the editor declares, if it does."""
    declared, places = options.edited_layers(), change.places(parts)
    outside = [name for name, block in places.items() if block not in declared]
    if declared and outside:
        raise PluginError(
            f"the editor {editor!r} changed {outside[0]}, outside the layers "
            f"{', '.join(map(str, declared))} that it declares; report this to its authors"
        )
