"""Base classes of options, and the artefacts that an editor can require; imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from editcore.config.value_options import ValueOptions
from editcore.errors import PluginError


@dataclass(frozen=True)
class Moments:
    """The second moment C of the down-projection's input at `layer`: an artefact of one model."""

    layer: int


@dataclass(frozen=True)
class Spectrum:
    """The eigendecomposition of C at `layer`: an artefact of one model; includes `Moments(layer)`.

    `EditContext.spectra` has it by layer; all projectors and factors of C come from it.
    """

    layer: int


@dataclass(frozen=True)
class Prefixes:
    """The context templates of one model: an artefact."""


@dataclass(frozen=True)
class Values:
    """v* of the cases to edit: an artefact of each shard."""

    options: ValueOptions


@dataclass(frozen=True)
class Keys:
    """The key strategy of this name; `EditContext.key_strategy` is its function."""

    strategy: str


@dataclass(frozen=True)
class Trained:
    """What an editor learns about a model before its first edit: an artefact of one model.

    `options` names the options of the editor that training depends on; changing others does not
    require new training. `data` are the training files. With `file`, nothing is trained: this file,
    the result of an earlier training, is read instead.
    """

    options: tuple[str, ...]
    data: tuple[str, ...] = ()
    file: str | None = None


@dataclass(frozen=True)
class Anchor:
    """The norm of v* in the unedited model, over up to `cases` facts: an artefact of one model.

    The facts are those in the file `facts`, or by default of the study's data sets, first
    those that it does not edit. `EditContext.anchors` has the result by this requirement.
    """

    options: ValueOptions
    cases: int = 100
    facts: str | None = None


Requirement = Moments | Spectrum | Prefixes | Values | Keys | Trained | Anchor
"""What an editor can ask for."""
NeedT = TypeVar("NeedT", Moments, Spectrum, Prefixes, Values, Keys, Trained, Anchor)


class EditorConfig(BaseModel):
    """Base of every editor's options: frozen; unknown options and infinite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def for_depth(cls, blocks: int) -> Mapping[str, Any]:
        """The options that `check` and `guard` use for a model of `blocks` blocks by default.

        A required option `layer` is `published_layer`; an editor with other layers overrides this.
        """
        layer = cls.model_fields.get("layer")
        return {"layer": published_layer(blocks)} if layer and layer.is_required() else {}

    def requires(self) -> tuple[Requirement, ...]:
        """What an edit with these options reads; the workflow builds these artefacts first."""
        return ()

    def edited_layers(self) -> tuple[int, ...]:
        """The blocks whose weights may change; planning refuses blocks outside the model."""
        return ()

    def value_options(self) -> ValueOptions | None:
        """The search for v* that an edit makes or reads; None for an editor without one."""
        return None


def published_layer(blocks: int) -> int:
    """A block to edit in a model of `blocks` blocks, by a rule that fits published choices.

    For ROME these are block 5 of 28 (GPT-J, Llama 3.2 3B, Qwen2.5 7B), of 32 (Llama 2 7B) and of 40
    (Qwen3 14B), and 17 of 48 (GPT-2 XL). For a particular model, another block may be better.

    >>> [published_layer(blocks) for blocks in (2, 6, 12, 28, 32, 40, 48, 80)]
    [0, 2, 5, 5, 5, 5, 17, 28]
    """
    return min(5, 5 * blocks // 12) if blocks <= 40 else 17 * blocks // 48


class Requiring(Protocol):
    """Whatever has requirements."""

    def requires(self) -> tuple[Requirement, ...]:
        """The artefacts that an edit reads."""


def needs(options: Requiring, kind: type[NeedT]) -> tuple[NeedT, ...]:
    """The requirements of one kind."""
    return tuple(need for need in options.requires() if isinstance(need, kind))


def key_strategy_of(options: Requiring) -> str | None:
    """The name of the key strategy that the options ask for; `PluginError` for more than one."""
    asked = needs(options, Keys)
    if len(asked) > 1:
        raise PluginError(
            f"{type(options).__name__} requires {len(asked)} key strategies, and an edit has one; "
            "report this to its authors"
        )
    return asked[0].strategy if asked else None


class TransformConfig(BaseModel):
    """Base of every transform's options, with the rules of `EditorConfig`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class EditorWrapperConfig(TransformConfig):
    """Base of the options of every editor wrapper."""

    def requires(self, inner: EditorConfig) -> tuple[Requirement, ...]:
        """What the wrapper reads besides what `inner`, the options of the editor, requires.

        Raises `ConfigError` for an editor that it cannot be combined with.
        """
        return ()


class JudgeConfig(BaseModel):
    """Base of every judge's options, with the rules of `EditorConfig`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def check(self) -> None:
        """Raise `EditcoreError` if what the options name does not exist; imports no torch."""

    def origin(self) -> Mapping[str, Any]:
        """What a table of scores records besides the options, such as a model's revision."""
        return {}


@dataclass(frozen=True)
class WrappedOptions:
    """The options of an editor and of the wrappers around it, the innermost first."""

    editor: EditorConfig
    wrappers: tuple[EditorWrapperConfig, ...] = ()

    def requires(self) -> tuple[Requirement, ...]:
        """What the editor and all wrappers read."""
        more = [need for each in self.wrappers for need in each.requires(self.editor)]
        return (*self.editor.requires(), *more)
