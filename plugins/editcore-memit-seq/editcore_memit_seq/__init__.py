"""MEMIT-Seq: MEMIT that also preserves the keys of earlier edits."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_memit_seq.config import MemitSeqConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="memit-seq",
        summary="MEMIT whose least squares also preserve the outputs at the keys of earlier edits.",
        paper="baseline of Fang et al. 2025, AlphaEdit: Null-Space Constrained Knowledge Editing "
        "for Language Models",
        config=MemitSeqConfig,
        factory="editcore_memit_seq.editor:MemitSeqEditor",
        capabilities=Capabilities(batched=True),
    )
