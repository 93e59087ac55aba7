"""What an editor's options look like, and which artefacts they ask for; free of torch."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from editcore.config.value_options import ValueOptions


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
class Trained:
    """What the editor itself learns about a model before its first edit: an artefact of one model.

    `options` names those of the editor's options that training depends on; the others can change
    without training anew. `data` are the files that it learns from. With `file`, nothing is
    trained: that file is read, as an earlier training wrote it.
    """

    options: tuple[str, ...]
    data: tuple[str, ...] = ()
    file: str | None = None


Requirement = Moments | Prefixes | Values | Trained
"""What an editor can ask the workflow to prepare."""


class EditorConfig(BaseModel):
    """Base of every editor's options: frozen, and an unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def requires(self) -> tuple[Requirement, ...]:
        """The artefacts that an edit with these options reads; the workflow builds them first."""
        return ()

    def edited_layers(self) -> tuple[int, ...]:
        """The blocks whose weights may change; one outside the model is refused early."""
        return ()


class TransformConfig(BaseModel):
    """Base of every transform's options: frozen, and an unknown option is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
