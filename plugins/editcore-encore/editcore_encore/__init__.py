"""ENCORE: least squares with memory, a norm constraint, and an early stop of the search for v*."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_encore.config import EncoreConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="encore",
        summary="MEMIT-Seq with early stopping and a constraint on the change's norm.",
        paper="Gupta et al. 2025, Lifelong Knowledge Editing requires Better Regularization",
        config=EncoreConfig,
        factory="editcore_encore.editor:EncoreEditor",
        capabilities=Capabilities(batched=True),
    )
