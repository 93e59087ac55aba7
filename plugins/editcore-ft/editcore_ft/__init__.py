"""Fine-tuning of one layer: the baseline of the papers, with and without its constraint."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_ft.config import FtConfig, FtUnconstrainedConfig

EDITCORE_HOOKSPEC = 2

_FACTORY = "editcore_ft.editor:FtEditor"
_PAPER = "Zhu et al. 2020, Modifying Memories in Transformer Models; Meng et al. 2022"
_CAPABILITIES = Capabilities(batched=True, needs_subject=False)


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The two editors."""
    yield EditorInfo(
        name="ft",
        summary="Fine-tunes one down-projection, each number within a bound (FT-L).",
        paper=_PAPER,
        config=FtConfig,
        factory=_FACTORY,
        capabilities=_CAPABILITIES,
    )
    yield EditorInfo(
        name="ft-unconstrained",
        summary="Fine-tunes one down-projection without a bound.",
        paper=_PAPER,
        config=FtUnconstrainedConfig,
        factory=_FACTORY,
        capabilities=_CAPABILITIES,
    )
