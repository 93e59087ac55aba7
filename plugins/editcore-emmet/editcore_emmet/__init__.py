"""EMMET: the least change of a layer that gives every key of a batch its value."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_emmet.config import EmmetConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="emmet",
        summary="ROME's equality constraint for a batch of facts, at one layer or several.",
        paper="Gupta et al. 2024, A Unified Framework for Model Editing",
        config=EmmetConfig,
        factory="editcore_emmet.editor:EmmetEditor",
        capabilities=Capabilities(batched=True),
    )
