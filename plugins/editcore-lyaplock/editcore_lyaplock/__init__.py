"""LyapLock: least squares that keep what a sequence does to running text within a budget."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_lyaplock.config import LyapLockConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="lyaplock",
        summary="MEMIT with memory, and a budget for what the whole sequence does to running text.",
        paper="Wang et al. 2025, LyapLock: Bounded Knowledge Preservation in Sequential Large "
        "Language Model Editing",
        config=LyapLockConfig,
        factory="editcore_lyaplock.editor:LyapLockEditor",
        capabilities=Capabilities(batched=True),
    )
