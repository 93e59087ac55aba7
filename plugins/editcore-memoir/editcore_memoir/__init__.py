"""MEMOIR: a residual memory next to one down-projection, of which each fact uses some columns."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_memoir.config import MemoirConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="memoir",
        summary="Adds a sparse memory to one layer where features match an edit's (MEMOIR).",
        paper="Wang et al. 2025, MEMOIR: Lifelong Model Editing with Minimal Overwrite and "
        "Informed Retention for LLMs",
        config=MemoirConfig,
        factory="editcore_memoir.editor:MemoirEditor",
        capabilities=Capabilities(batched=True, needs_subject=False, changes_weights=False),
    )
