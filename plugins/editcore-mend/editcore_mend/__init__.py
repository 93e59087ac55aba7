"""MEND: a network, trained once per model, turns an edit's gradient into the weight change."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_mend.config import MendConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="mend",
        summary="Turns the gradient into a weight change by a network trained per model.",
        paper="Mitchell et al. 2022, Fast Model Editing at Scale",
        config=MendConfig,
        factory="editcore_mend.editor:MendEditor",
        capabilities=Capabilities(batched=True, needs_subject=False),
    )
