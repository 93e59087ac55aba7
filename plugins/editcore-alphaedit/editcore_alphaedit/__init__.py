"""AlphaEdit: MEMIT whose changes stay in the null space of running text."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_alphaedit.config import AlphaEditConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="alphaedit",
        summary="Projects MEMIT's change on the directions that running text hardly uses.",
        paper="Fang et al. 2025, AlphaEdit: Null-Space Constrained Knowledge Editing for Language "
        "Models",
        config=AlphaEditConfig,
        factory="editcore_alphaedit.editor:AlphaEditEditor",
        capabilities=Capabilities(batched=True),
    )
