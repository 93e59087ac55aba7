"""GRACE: a codebook at one layer answers near the keys that it holds; no weight changes."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_grace.config import GraceConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="grace",
        summary="Answers from a codebook at one layer, within a radius of its keys (GRACE).",
        paper="Hartvigsen et al. 2023, Aging with GRACE: Lifelong Model Editing with Discrete "
        "Key-Value Adaptors",
        config=GraceConfig,
        factory="editcore_grace.editor:GraceEditor",
        capabilities=Capabilities(batched=True, needs_subject=False, changes_weights=False),
    )
