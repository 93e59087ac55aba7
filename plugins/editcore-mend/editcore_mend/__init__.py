"""MEND and MALMEN: a network, trained once per model, turns gradients into a weight change."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_mend.config import MalmenConfig, MendConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """Both editors."""
    capabilities = Capabilities(batched=True, needs_subject=False)
    yield EditorInfo(
        name="mend",
        summary="Turns the gradient into a weight change by a network trained per model.",
        paper="Mitchell et al. 2022, Fast Model Editing at Scale",
        config=MendConfig,
        factory="editcore_mend.editor:MendEditor",
        capabilities=capabilities,
    )
    yield EditorInfo(
        name="malmen",
        summary="Fits many facts' trained value differences by one least-squares solve (MALMEN).",
        paper="Tan et al. 2024, Massive Editing for Large Language Models via Meta Learning",
        config=MalmenConfig,
        factory="editcore_mend.malmen_editor:MalmenEditor",
        capabilities=capabilities,
    )
