"""Forward passes in which a text is before each row, as its attention keys and values.

A pass without past, or with an empty KV cache, continues from the text's keys and values, so that
only the row's own hidden states come out, as without the text. A cache that such a pass has filled
contains the text's columns too. Its reader does not know of them: the reader's mask lacks as many
columns on the left as the texts have, and its positions do not count them. Both are completed.

Texts of different lengths are padded on the left, with keys and values that are exactly zero. That
is how a later pass recognises padding, even if the rows of the cache were chosen again.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

from editcore import PluginError, RequestError
from editcore.toolkit import pad_rows
from editcore_in_context.facts import Tokens

Choose = Callable[[Tensor | None, Tensor], Sequence[Tokens]]
"""From a pass's input ids, if it has them, and its mask, the text before each row."""


@dataclass(frozen=True)
class Past:
    """Keys and values of texts, block by block `[text, head, column, d_head]`, and their mask."""

    blocks: Sequence[tuple[Tensor, Tensor]]
    mask: Tensor

    def rows(self, index: Tensor) -> "Past":
        """Those of chosen texts; one may be chosen several times."""
        return Past(
            [(keys[index], values[index]) for keys, values in self.blocks], self.mask[index]
        )

    def put_into(self, cache: DynamicCache) -> None:
        """Fill an empty cache, with layers that keep all columns even in a sliding window."""
        cache.layers = [DynamicLayer() for _ in self.blocks]
        for layer, (keys, values) in enumerate(self.blocks):
            cache.update(keys, values, layer)


@dataclass
class TextsBefore:
    """Hooks around the forward passes of the module with a model's blocks and token embedding."""

    base: nn.Module
    choose: Choose
    _last: tuple[tuple[Tokens, ...], Past] | None = field(default=None, init=False)
    _unasked: DynamicCache | None = field(default=None, init=False)

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[()], dict[str, Any]]:
        """The arguments of the pass, by name, with the texts' columns."""
        names = inspect.signature(module.forward).parameters
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        _refuse_unfit(given)
        past = given.get("past_key_values")
        if past is not None and past.get_seq_length():
            return (), given | self._continued(given, past)
        return (), given | self._begun(given, past)

    def without_cache(self, _: nn.Module, __: Any, output: Any) -> Any:
        """The output without a KV cache that its caller did not ask for."""
        unasked, self._unasked = self._unasked, None
        if unasked is None:
            return output
        if isinstance(output, tuple):
            return tuple(part for part in output if part is not unasked)
        return type(output)(**{k: v for k, v in output.items() if v is not unasked})

    def _begun(self, given: dict[str, Any], past: DynamicCache | None) -> dict[str, Any]:
        mask = given.get("attention_mask")
        if mask is None:
            mask = torch.ones(_shape(given), dtype=torch.long, device=_entering(given).device)
        texts = self.choose(given.get("input_ids"), mask)
        if not any(texts):
            return {}
        cache = DynamicCache() if past is None else past
        self._unasked = cache if past is None and given.get("use_cache") is False else None
        before = self._past(texts, mask.device)
        before.put_into(cache)
        return {"past_key_values": cache} | self._placed(given, before.mask, mask)

    def _continued(self, given: dict[str, Any], past: DynamicCache) -> dict[str, Any]:
        layer, length, mask = past.layers[0], past.get_seq_length(), given.get("attention_mask")
        if (
            not isinstance(layer, DynamicLayer)
            or layer.keys is None
            or len(layer.keys[0, 0]) < length
        ):
            raise PluginError("the KV cache has lost columns; start it while the patch is in place")
        real = layer.keys.ne(0).any(-1).any(1)
        if mask is None:  # no row has padding of its own, so that positions can be counted
            own = torch.ones(_shape(given), dtype=torch.long, device=real.device)
            return self._placed(given | {"position_ids": None}, real, own)
        missing = length + _shape(given)[1] - mask.shape[1]
        if missing < 0:
            raise PluginError("the attention_mask has more columns than the KV cache and the rows")
        return self._placed(given, real[:, :missing], mask) if missing else {}

    def _placed(self, given: dict[str, Any], before: Tensor, mask: Tensor) -> dict[str, Any]:
        """The mask and positions of a pass with the texts' columns."""
        whole = torch.cat([before.to(mask.dtype), mask], 1)
        counted = (whole.long().cumsum(1) - 1).clamp(min=0)[:, -_shape(given)[1] :]
        own = given.get("position_ids")
        positions = counted if own is None else own + before.sum(1, keepdim=True)
        self._refuse_too_long(whole, positions)
        return {"attention_mask": whole, "position_ids": positions}

    def _past(self, texts: Sequence[Tokens], device: torch.device) -> Past:
        """The keys and values of the text before each row; the last texts' are kept."""
        distinct = tuple(sorted(set(texts)))
        if self._last is None or self._last[0] != distinct:
            self._last = distinct, self._read(distinct, device)
        places = {text: place for place, text in enumerate(distinct)}
        return self._last[1].rows(torch.tensor([places[text] for text in texts], device=device))

    @torch.no_grad()
    def _read(self, texts: Sequence[Tokens], device: torch.device) -> Past:
        rows = pad_rows(texts, 0, "right", device)
        self._refuse_too_long(rows.mask, rows.positions)
        cache = DynamicCache()
        # `forward` itself, since calling the module would come back to this hook.
        self.base.forward(
            input_ids=rows.ids,
            attention_mask=rows.mask,
            position_ids=rows.positions,
            past_key_values=cache,
            use_cache=True,
        )
        return _moved_right(cache, rows.mask.bool())

    def _refuse_too_long(self, mask: Tensor, positions: Tensor) -> None:
        config: Any = self.base.config
        most = getattr(config, "max_position_embeddings", None)
        if most is not None and int(positions.max()) >= most:
            raise RequestError(
                f"the facts before a text and the text itself take {int(positions.max()) + 1} "
                f"tokens, and the model has {most} positions; keep fewer facts, or shorten the text"
            )
        window = getattr(config, "sliding_window", None) or getattr(config, "window_size", None)
        if window is not None and mask.shape[1] > window and _has_gap(mask):
            raise PluginError(
                f"the model attends to the last {window} columns only, and padding on the left is "
                "between the facts and a row, so some of them would be lost; pad on the right"
            )


def body(model: PreTrainedModel) -> nn.Module:
    """The part of a model that each pass with tokens enters: the one with its token embedding.

    That is not always `model.base_model`, which OPT's head passes by.
    """
    embedding = model.get_input_embeddings()
    return next(m for m in model.modules() if any(child is embedding for child in m.children()))


def _entering(given: dict[str, Any]) -> Tensor:
    ids = given.get("input_ids")
    entering: Tensor = given["inputs_embeds"] if ids is None else ids
    return entering


def _shape(given: dict[str, Any]) -> tuple[int, int]:
    """The number of rows of a pass, and of their tokens."""
    rows, width, *_ = _entering(given).shape
    return rows, width


def _refuse_unfit(given: dict[str, Any]) -> None:
    """Refuse caches of a fixed size, and masks that are more than which tokens are real."""
    past, mask = given.get("past_key_values"), given.get("attention_mask")
    if past is not None and not isinstance(past, DynamicCache):
        raise PluginError(
            f"facts can be put before a prompt in a DynamicCache only, not in a "
            f"{type(past).__name__}; leave the cache to the model"
        )
    if mask is not None and not (isinstance(mask, Tensor) and mask.dim() == 2):
        raise PluginError(
            "facts can be put before a prompt only if attention_mask is [row, column], 1 at real "
            "tokens; give such a mask"
        )


def _has_gap(mask: Tensor) -> bool:
    """Whether any row has padding between real tokens."""
    columns = torch.arange(mask.shape[1], device=mask.device)
    real = mask.bool()
    first = columns.expand_as(mask).masked_fill(~real, mask.shape[1]).amin(1)
    last = columns.expand_as(mask).masked_fill(~real, -1).amax(1)
    return bool((real.sum(1) < last - first + 1).any())


def _moved_right(cache: DynamicCache, real: Tensor) -> Past:
    """Padding moved from the right to the left, with keys and values of zero."""
    width = real.shape[1]
    source = torch.arange(width, device=real.device) - (width - real.sum(1, keepdim=True))
    padding = source < 0

    def moved(states: Tensor) -> Tensor:
        index = source.clamp(min=0)[:, None, :, None].expand_as(states)
        return states.gather(2, index).masked_fill(padding[:, None, :, None], 0)

    blocks = []
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer)
        assert layer.keys is not None and layer.values is not None
        blocks.append((moved(layer.keys), moved(layer.values)))
    return Past(blocks, (~padding).long())
