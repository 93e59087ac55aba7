"""Measure, explain and predict how model editing collapses language models.

This package imports no torch at import; `editcore.toolkit` does.
"""

from editcore.api import check
from editcore.config.options import EditorConfig, Moments, Prefixes, TransformConfig, Values
from editcore.config.value_options import ValueOptions
from editcore.editing.editor import EditContext, Editor, EditResult
from editcore.errors import EditcoreError
from editcore.registry.hookspecs import (
    Capabilities,
    DeltaTransformInfo,
    EditorInfo,
    KeyStrategyInfo,
    MetricInfo,
    hookimpl,
)
from editcore.requests import OK, EditRequest, Probe

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
