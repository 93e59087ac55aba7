"""The pluggy specification: what a plugin can provide, as frozen records without heavy imports.

A distribution `editcore-<name>` registers a module under the entry-point group `editcore`; the
module implements any of the hooks below with `editcore.hookimpl`, and gives the version of the
hooks that it was made for as a number, `EDITCORE_HOOKSPEC = 2`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from editcore.config.options import (
        EditorConfig,
        EditorWrapperConfig,
        JudgeConfig,
        TransformConfig,
    )

PROJECT = "editcore"
HOOKSPEC_VERSION = 2
"""The version of the hooks and of their records; a plugin made for another one is refused."""
STATED_VERSION = "EDITCORE_HOOKSPEC"
# The format name that recognises a data set's format by its records.
AUTO = "auto"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin's module as the implementation of the hook of that name."""


@dataclass(frozen=True)
class Capabilities:
    """What an editor can do; planning refuses a study that needs more.

    `batched`: it edits several facts at once; `sequential`: it can edit a model that was edited
    before; `needs_subject`: the request must name a subject; `changes_weights`: an edit is a weight
    change, otherwise a patch.
    """

    batched: bool = False
    sequential: bool = True
    needs_subject: bool = True
    changes_weights: bool = True


@dataclass(frozen=True)
class EditorInfo:
    """An editor: `factory` is `"module:Class"` and is imported only when an edit is made."""

    name: str
    summary: str
    paper: str
    config: "type[EditorConfig]"
    factory: str
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True)
class KeyStrategyInfo:
    """A way to choose the two keys of a rank-one update.

    `factory` is `"module:function"`, an `editcore.toolkit.KeyStrategy`.
    """

    name: str
    summary: str
    paper: str
    factory: str


@dataclass(frozen=True)
class DeltaTransformInfo:
    """A transform of any editor's weight changes, applied before they are measured.

    `factory` is `"module:function"`, an `editcore.toolkit.DeltaTransform`. An `accumulated` one is
    given the change that all edits of a sequence make together, and the unedited model; the model
    is measured with its result, and the next edit is made without it.
    """

    name: str
    summary: str
    paper: str
    config: "type[TransformConfig]"
    factory: str
    accumulated: bool = False


@dataclass(frozen=True)
class EditorWrapperInfo:
    """An editor made of any editor: it decides what the inner one is given, and what is returned.

    `factory` is `"module:Class"`, an `editcore.toolkit.EditorWrapper`, called with the inner editor
    and the options. Studies name wrappers among the transforms; names are unique over both.
    """

    name: str
    summary: str
    paper: str
    config: "type[EditorWrapperConfig]"
    factory: str


TransformInfo = DeltaTransformInfo | EditorWrapperInfo
"""What a study can name under `transforms`."""


@dataclass(frozen=True)
class MetricInfo:
    """A metric of one edit: `factory` is `"module:function"`, an `editcore.toolkit.Metric`.

    `columns` are the columns that it adds to the rows of `results/edits`. `questions` is
    `"module:function"`, from a case's `editcore.toolkit.CaseQuestions` to the further `Question`s
    whose answers the metric needs; without it, there are those that every study asks.
    """

    name: str
    summary: str
    paper: str
    factory: str
    columns: tuple[str, ...]
    questions: str = ""


@dataclass(frozen=True)
class ModelFamilyInfo:
    """Where models of some transformers `model_types` have the modules that editors use.

    editcore finds these by structure in most models; a family describes models where that fails.
    `blocks` is the path of the list of blocks; `mlp` and `down` are relative to a block. `down` is
    the MLP's last linear map: its input is the *key* and its output the *value* if feed-forward
    layers are read as memories (Meng et al. 2022, §3.1). `mlp` is the module that gives the MLP's
    output; by default, it is found from `down`.
    """

    name: str
    summary: str
    model_types: tuple[str, ...]
    blocks: str
    down: str
    mlp: str | None = None


@dataclass(frozen=True)
class DatasetFormatInfo:
    """A format of records: `factory` is `"module:function"`, an `editcore.RecordParser`.

    `format: auto` recognises a record that has all of `fields`; `field.inner` is a field of the
    object in a field, or of the first object in a list. Without fields, the format must be named.
    """

    name: str
    summary: str
    paper: str
    factory: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True)
class JudgeInfo:
    """A judge of freely generated answers, for `editcore rescore`.

    `factory` is `"module:function"`; the function takes the options and returns an
    `editcore.toolkit.Judge`.
    """

    name: str
    summary: str
    paper: str
    config: "type[JudgeConfig]"
    factory: str


class EditcoreSpecs:
    """The hooks. Each yields records; names consist of lower-case letters, digits and `-`.

    A name that two plugins claim is an error for the second, and for every study that uses it.
    """

    @hookspec
    def editcore_editors(self) -> Iterable[EditorInfo]:
        """Yield the editors that this plugin provides.

        Example::

            @editcore.hookimpl
            def editcore_editors():
                yield EditorInfo(
                    name="noop", summary="Changes nothing.", paper="", config=EditorConfig,
                    factory="editcore_noop.editor:NoopEditor",
                )
        """
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_key_strategies(self) -> Iterable[KeyStrategyInfo]:
        """Yield the key strategies that this plugin provides."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_delta_transforms(self) -> Iterable[DeltaTransformInfo]:
        """Yield the delta transforms that this plugin provides."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_editor_wrappers(self) -> Iterable[EditorWrapperInfo]:
        """Yield the editor wrappers that this plugin provides."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_metrics(self) -> Iterable[MetricInfo]:
        """Yield the metrics that this plugin provides."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_model_families(self) -> Iterable[ModelFamilyInfo]:
        """Yield the model families that this plugin provides."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_datasets(self) -> Iterable[DatasetFormatInfo]:
        """Yield the data-set formats that this plugin provides."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_judges(self) -> Iterable[JudgeInfo]:
        """Yield the judges of answers that this plugin provides."""
        raise RuntimeError("a hook specification is never called")
