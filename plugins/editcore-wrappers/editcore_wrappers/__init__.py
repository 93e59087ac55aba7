"""Wrappers of any editor that fits: NAS and SimIE."""

from collections.abc import Iterator

from editcore import EditorWrapperInfo, hookimpl
from editcore_wrappers.config import NasConfig, SimIEConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editor_wrappers() -> Iterator[EditorWrapperInfo]:
    """The two wrappers."""
    yield EditorWrapperInfo(
        name="nas",
        summary="Rescales v* to the norm that it has in the unedited model (NAS).",
        paper="Liu et al. 2026, Norm Anchors Make Model Edits Last",
        config=NasConfig,
        factory="editcore_wrappers.nas:Nas",
    )
    yield EditorWrapperInfo(
        name="simie",
        summary="Makes each edit on the unedited model, and fits all of them together (SimIE).",
        paper="Guo et al. 2025, Towards Lifelong Model Editing via Simulating Ideal Editor",
        config=SimIEConfig,
        factory="editcore_wrappers.simie:SimIE",
    )
