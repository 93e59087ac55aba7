"""The null editor itself."""

from collections.abc import Sequence
from typing import Any

from editcore import EditContext, Editor, EditorConfig, EditRequest, EditResult
from editcore.toolkit import Delta


class NoopEditor(Editor[EditorConfig]):
    """ΔW = 0 for every request: a delta that names no parameter."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """The empty delta."""
        return EditResult(Delta({}))
