"""Two controls that change no weights: the model reads edited facts before each prompt."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_in_context.config import InContextConfig, RetrievalConfig

EDITCORE_HOOKSPEC = 2
PROMPTED = Capabilities(batched=True, needs_subject=False, changes_weights=False)


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """All edited facts before each prompt, or the nearest one."""
    yield EditorInfo(
        name="in-context",
        summary="Puts the edited facts before each prompt; no weight changes.",
        paper="Zheng et al. 2023, Can We Edit Factual Knowledge by In-Context Learning?",
        config=InContextConfig,
        factory="editcore_in_context.editor:InContextEditor",
        capabilities=PROMPTED,
    )
    yield EditorInfo(
        name="retrieval",
        summary="Puts the edited fact that is nearest to each prompt before it.",
        paper="a control; the text before the prompt is that of Zheng et al. 2023",
        config=RetrievalConfig,
        factory="editcore_in_context.editor:RetrievalEditor",
        capabilities=PROMPTED,
    )
