"""The KV cache: attention keys and values of tokens already read, from which a pass continues."""

from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

_Heads = Float[Tensor, "row _head _position _d_head"]
KeysValues = list[tuple[_Heads, _Heads]]
"""Attention keys and values, block by block."""


def cache(past: KeysValues) -> DynamicCache:
    """A cache that starts with given keys and values, which it does not change as it grows."""
    started = DynamicCache()
    for keys, values in past:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        started.layers.append(layer)
    return started


def shape_only(keys: _Heads, values: _Heads) -> tuple[_Heads, _Heads]:
    """Placeholders for keys and values that no block reads: only rows and positions remain."""
    return keys[:, :1, :, :1].clone(), values[:, :1, :, :1].clone()


def held(by: DynamicCache) -> KeysValues:
    """The keys and values in a cache, for the blocks that ran."""
    return [
        (layer.keys, layer.values)
        for layer in by.layers
        if isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
    ]


def read_after(
    model: PreTrainedModel,
    ids: Int[Tensor, "row position"],
    mask: Int[Tensor, "row whole"],
    positions: Int[Tensor, "row position"],
    before: DynamicCache,
) -> Float[Tensor, "row position d_last"]:
    """The last hidden states of tokens read after those in a cache, which they are added to.

    `mask` covers the cached tokens and these.
    """
    states: Tensor = model.base_model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=before,
        use_cache=True,
    ).last_hidden_state
    return states
