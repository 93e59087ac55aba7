"""NSE: MEMIT in rounds, on the neurons that the edited keys use most."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_nse.config import NseConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="nse",
        summary="MEMIT with memory, in rounds, on the neurons that the edited keys use most.",
        paper="Jiang et al. 2025, Neuron-Level Sequential Editing for Large Language Models",
        config=NseConfig,
        factory="editcore_nse.editor:NseEditor",
        capabilities=Capabilities(batched=True),
    )
