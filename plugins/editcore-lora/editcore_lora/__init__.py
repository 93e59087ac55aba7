"""LoRA: low-rank adapters of attention, trained on the facts and merged into the weights."""

from collections.abc import Iterator

from editcore import Capabilities, EditorInfo, hookimpl
from editcore_lora.config import LoraEditConfig

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors() -> Iterator[EditorInfo]:
    """The one editor."""
    yield EditorInfo(
        name="lora",
        summary="Trains low-rank adapters of attention on the facts, with peft (LoRA).",
        paper="Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models; "
        "baseline of EasyEdit",
        config=LoraEditConfig,
        factory="editcore_lora.editor:LoraEditor",
        capabilities=Capabilities(batched=True, needs_subject=False),
    )
