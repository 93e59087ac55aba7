"""Measure, explain and predict how model editing collapses language models.

This package imports no torch; `editcore.models`, `editcore.deltas` and their neighbours do.
"""

from editcore.api import check
from editcore.editor_config import EditorConfig, Moments, Prefixes, Values
from editcore.editors import OK, EditContext, Editor, EditResult
from editcore.errors import EditcoreError
from editcore.hookspecs import (
    Capabilities,
    DeltaTransformInfo,
    EditorInfo,
    KeyStrategyInfo,
    MetricInfo,
    hookimpl,
)
from editcore.requests import EditRequest, Probe
from editcore.transforms import TransformConfig
from editcore.value_options import ValueOptions

__all__ = [
    "OK",
    "Capabilities",
    "DeltaTransformInfo",
    "EditContext",
    "EditRequest",
    "EditResult",
    "EditcoreError",
    "Editor",
    "EditorConfig",
    "EditorInfo",
    "KeyStrategyInfo",
    "MetricInfo",
    "Moments",
    "Prefixes",
    "Probe",
    "TransformConfig",
    "ValueOptions",
    "Values",
    "check",
    "hookimpl",
]
