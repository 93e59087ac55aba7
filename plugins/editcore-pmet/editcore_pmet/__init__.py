"""PMET: MEMIT whose search also moves attention, and whose change is of the MLPs alone."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_pmet.config import PmetConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="pmet",
        summary="MEMIT with a search that also moves attention; only the MLPs are changed.",
        paper="Li et al. 2024, PMET: Precise Model Editing in a Transformer",
        config=PmetConfig,
        factory="editcore_pmet.editor:PmetEditor",
        capabilities=Capabilities(batched=True),
    )
