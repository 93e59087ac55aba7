"""Measure, explain and predict how model editing collapses language models.

These names plan a study and describe a plugin; importing them does not import torch. Names for
computing are in `editcore.toolkit`. A plugin imports from these two modules only; docs/toolkit.md
lists both.
"""

from editcore.api import check, edit, edited
from editcore.config.options import (
    Anchor,
    EditorConfig,
    EditorWrapperConfig,
    JudgeConfig,
    Keys,
    Moments,
    Prefixes,
    Requirement,
    Spectrum,
    Trained,
    TransformConfig,
    Values,
    published_layer,
)
from editcore.config.spreading_options import MomentWeight, SpreadingOptions
from editcore.config.value_options import (
    ClampNormFactor,
    ValueOptions,
    ValueSearchOptions,
    ValueSite,
)
from editcore.datasets.bundled import bundled_models, data_file
from editcore.datasets.formats.fields import RecordParser, record_id, with_slot
from editcore.datasets.readers import read_requests, read_texts
from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.errors import (
    ConfigError,
    DataError,
    EditcoreError,
    ModelError,
    PluginError,
    RequestError,
)
from editcore.registry.hookspecs import (
    HOOKSPEC_VERSION,
    Capabilities,
    DatasetFormatInfo,
    DeltaTransformInfo,
    EditorInfo,
    EditorWrapperInfo,
    JudgeInfo,
    KeyStrategyInfo,
    MetricInfo,
    ModelFamilyInfo,
    hookimpl,
)
from editcore.registry.registry import load_registry, resolve_factory
from editcore.requests import OK, SLOT, EditRequest, Probe

__all__ = [
    "HOOKSPEC_VERSION",
    "OK",
    "SLOT",
    "Anchor",
    "Capabilities",
    "ClampNormFactor",
    "ConfigError",
    "DataError",
    "DatasetFormatInfo",
    "DeltaTransformInfo",
    "EditContext",
    "EditRequest",
    "EditResult",
    "EditcoreError",
    "Editor",
    "EditorConfig",
    "EditorInfo",
    "EditorWrapperConfig",
    "EditorWrapperInfo",
    "JudgeConfig",
    "JudgeInfo",
    "KeyStrategyInfo",
    "Keys",
    "MetricInfo",
    "ModelError",
    "ModelFamilyInfo",
    "MomentWeight",
    "Moments",
    "PluginError",
    "Prefixes",
    "Probe",
    "RecordParser",
    "RequestError",
    "Requirement",
    "Spectrum",
    "SpreadingOptions",
    "Trained",
    "TransformConfig",
    "ValueOptions",
    "ValueSearchOptions",
    "ValueSite",
    "Values",
    "bundled_models",
    "check",
    "data_file",
    "edit",
    "edited",
    "hookimpl",
    "load_registry",
    "published_layer",
    "read_requests",
    "read_texts",
    "record_id",
    "resolve_factory",
    "with_slot",
]
