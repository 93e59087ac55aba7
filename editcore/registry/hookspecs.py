"""The pluggy specification: what a plugin can bring, as frozen records that import nothing heavy.

A distribution `editcore-<name>` registers a module under the entry-point group `editcore`; the
module implements any of the hooks below with `editcore.hookimpl`, and states the version of the
hooks that it was made for as a number, `EDITCORE_HOOKSPEC = 2`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from editcore.config.options import EditorConfig, TransformConfig

PROJECT = "editcore"
HOOKSPEC_VERSION = 2
"""The version of the hooks and of their records; a plugin made for another one is refused."""
STATED_VERSION = "EDITCORE_HOOKSPEC"
# The name that lets a data set's records decide which format they have.
AUTO = "auto"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function of a plugin's module as the implementation of the hook of that name."""


@dataclass(frozen=True)
class Capabilities:
    """What an editor can do, so that a study is refused before it starts rather than after.

    `batched`: several facts in one edit; `sequential`: edits on top of edits; `needs_subject`: the
    request must name a subject; `changes_weights`: the edit is a change of weights, else a patch.
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
    """A change of any editor's weight change, made before it is measured.

    `factory` is `"module:function"`, an `editcore.toolkit.DeltaTransform`.
    """

    name: str
    summary: str
    paper: str
    config: "type[TransformConfig]"
    factory: str


@dataclass(frozen=True)
class MetricInfo:
    """A metric of one edit: `factory` is `"module:function"`, an `editcore.toolkit.Metric`.

    `columns` are the names that it adds to the rows of `results/edits`.
    """

    name: str
    summary: str
    paper: str
    factory: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ModelFamilyInfo:
    """Where the models of some transformers `model_types` keep the parts that editors touch.

    editcore finds the parts of most models by their structure; a family is for those whose parts it
    does not find. `blocks` is the path of the list of blocks; `mlp` and `down` are relative to a
    block. `down` is the MLP's last linear map: its input is the *key* and its output the *value* in
    the reading of feed-forward layers as memories (Meng et al. 2022, §3.1). `mlp` is the module
    that gives the MLP's output; left out, it is found around `down`.
    """

    name: str
    summary: str
    model_types: tuple[str, ...]
    blocks: str
    down: str
    mlp: str | None = None


@dataclass(frozen=True)
class DatasetFormatInfo:
    """A shape of records: `factory` is `"module:function"`, an `editcore.RecordParser`.

    `fields` are those by which `format: auto` recognises a record that has all of them; with none,
    the format has to be named.
    """

    name: str
    summary: str
    paper: str
    factory: str
    fields: tuple[str, ...] = ()


class EditcoreSpecs:
    """The hooks. Each yields records; names are lower-case letters, digits, `-`.

    A name that two plugins claim is an error of the second, and of every study that asks for it.
    """

    @hookspec
    def editcore_editors(self) -> Iterable[EditorInfo]:
        """Yield the editors that this plugin brings.

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
        """Yield the key strategies that this plugin brings."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_delta_transforms(self) -> Iterable[DeltaTransformInfo]:
        """Yield the delta transforms that this plugin brings."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_metrics(self) -> Iterable[MetricInfo]:
        """Yield the metrics that this plugin brings."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_model_families(self) -> Iterable[ModelFamilyInfo]:
        """Yield the model families that this plugin brings."""
        raise RuntimeError("a hook specification is never called")

    @hookspec
    def editcore_datasets(self) -> Iterable[DatasetFormatInfo]:
        """Yield the data-set formats that this plugin brings."""
        raise RuntimeError("a hook specification is never called")
