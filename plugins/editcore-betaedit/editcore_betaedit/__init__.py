"""BetaEdit: AlphaEdit that also weighs C, and remakes its projector along a sequence."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_betaedit.config import BetaEditConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="betaedit",
        summary="AlphaEdit with C in the solve and a projector that follows the edits.",
        paper="Liu et al. 2026, BetaEdit: Null-Space Constrained Sequential Model Editing",
        config=BetaEditConfig,
        factory="editcore_betaedit.editor:BetaEditEditor",
        capabilities=Capabilities(batched=True),
    )
