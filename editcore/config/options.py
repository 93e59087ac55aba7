"""What an editor's options look like, and what they ask for; free of torch."""

from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from editcore.config.value_options import ValueOptions
from editcore.errors import PluginError


@dataclass(frozen=True)
class Moments:
    """The second moment C of the down-projection's input at `layer`: an artefact of one model."""

    layer: int


@dataclass(frozen=True)
class Prefixes:
    """The context templates of one model: an artefact."""


@dataclass(frozen=True)
class Values:
    """v* of the cases to edit, under all context templates: an artefact of each shard."""

    options: ValueOptions


@dataclass(frozen=True)
class Keys:
    """The key strategy of this name; the context has the function, `EditContext.key_strategy`."""

    strategy: str


@dataclass(frozen=True)
class Trained:
    """What the editor itself learns about a model before its first edit: an artefact of one model.

    `options` names those of the editor's options that training depends on; the others can change
    without training again. `data` are the files that it learns from. With `file`, nothing is
    trained: that file is read, as an earlier training wrote it.
    """

    options: tuple[str, ...]
    data: tuple[str, ...] = ()
    file: str | None = None


Requirement = Moments | Prefixes | Values | Keys | Trained
"""What an editor can ask for."""
NeedT = TypeVar("NeedT", Moments, Prefixes, Values, Keys, Trained)


class EditorConfig(BaseModel):
    """Base of every editor's options: frozen, and an unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def requires(self) -> tuple[Requirement, ...]:
        """What an edit with these options reads; the workflow builds the artefacts first."""
        return ()

    def edited_layers(self) -> tuple[int, ...]:
        """The blocks whose weights may change; one outside the model is refused early."""
        return ()


def needs(options: EditorConfig, kind: type[NeedT]) -> tuple[NeedT, ...]:
    """Those of the requirements that are of one kind."""
    return tuple(need for need in options.requires() if isinstance(need, kind))


def key_strategy_of(options: EditorConfig) -> str | None:
    """The name of the key strategy that the options ask for; `PluginError` for more than one."""
    asked = needs(options, Keys)
    if len(asked) > 1:
        raise PluginError(
            f"{type(options).__name__} requires {len(asked)} key strategies, and an edit has one; "
            "report this to its authors"
        )
    return asked[0].strategy if asked else None


class TransformConfig(BaseModel):
    """Base of every transform's options: frozen, and an unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
