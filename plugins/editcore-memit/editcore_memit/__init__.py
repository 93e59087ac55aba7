"""MEMIT: one or many facts, written into several layers by least squares."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_memit.config import MemitConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="memit",
        summary="Spreads the change over several MLPs, each by regularised least squares.",
        paper="Meng et al. 2023, Mass-Editing Memory in a Transformer",
        config=MemitConfig,
        factory="editcore_memit.editor:MemitEditor",
        capabilities=Capabilities(batched=True),
    )
