"""UltraEdit: the gradients of many facts, normalised over all edits so far, in one ridge solve."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_ultraedit.config import UltraEditConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="ultraedit",
        summary="Turns normalised keys and gradients into a change by one ridge solve (UltraEdit).",
        paper="Gu et al. 2025, UltraEdit: Training-, Subject-, and Memory-Free Lifelong Editing in "
        "Language Models",
        config=UltraEditConfig,
        factory="editcore_ultraedit.editor:UltraEditEditor",
        capabilities=Capabilities(batched=True, needs_subject=False),
    )
