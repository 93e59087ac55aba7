"""Refuses unsuitable models by their configuration, before anything is loaded."""

from collections.abc import Mapping
from typing import Any

from editcore.errors import ModelError


def refuse_unfit(name: str, config: Mapping[str, Any]) -> None:
    """Raise `ModelError` for a mixture of experts or a model that is not a causal language model.

    `config` is the content of the model's `config.json`; an empty one is not refused.
    """
    kind = config.get("model_type")
    if experts := _experts(config):
        raise ModelError(
            f"model {name!r} is of type {kind!r}, a mixture of {experts} experts: its blocks "
            "have no single MLP to edit. editcore edits dense models only"
        )
    if config.get("is_encoder_decoder"):
        raise ModelError(
            f"model {name!r} is of type {kind!r}, which has an encoder and a decoder; editcore "
            "edits causal language models"
        )


def _experts(config: Mapping[str, Any]) -> int:
    """The number of experts in a block; 0 in a dense model."""
    parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
    counts = (
        value
        for part in parts
        for key, value in part.items()
        if str(key).endswith("experts") and isinstance(value, int) and not isinstance(value, bool)
    )
    return max((count for count in counts if count > 1), default=0)
