"""ROME, C-ROME and p-ROME: one rank-one editor, three ways to choose its keys."""

from collections.abc import Iterator

from editcore import EditorInfo, hookimpl
from editcore_rome.config import CRomeConfig, PRomeConfig, RomeConfig

EDITCORE_HOOKSPEC = 2

_FACTORY = "editcore_rome.editor:RomeEditor"


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The three editors."""
    yield EditorInfo(
        name="rome",
        summary="Rank-one edit of one MLP; mixes the mean key and the bare key, as released.",
        paper="Meng et al. 2022, Locating and Editing Factual Associations in GPT",
        config=RomeConfig,
        factory=_FACTORY,
    )
    yield EditorInfo(
        name="c-rome",
        summary="ROME with the mean key in both places.",
        paper="Yang et al. 2024, The Fall of ROME: Understanding the Collapse of LLMs in Model "
        "Editing",
        config=CRomeConfig,
        factory=_FACTORY,
    )
    yield EditorInfo(
        name="p-rome",
        summary="ROME with the bare key in both places.",
        paper="Gupta et al. 2024, Rebuilding ROME: Resolving Model Collapse during Sequential "
        "Model Editing",
        config=PRomeConfig,
        factory=_FACTORY,
    )
