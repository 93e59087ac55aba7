"""LocFT-BF: fine-tuning of one weight matrix, in mini-batches over all facts."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_locft.config import LocftConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="locft",
        summary="Fine-tunes one matrix or block, in mini-batches over all facts (LocFT-BF).",
        paper="Yang et al. 2025, Fine-tuning Done Right in Model Editing",
        config=LocftConfig,
        factory="editcore_locft.editor:LocftEditor",
        capabilities=Capabilities(batched=True, needs_subject=False),
    )
