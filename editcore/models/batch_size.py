"""Batch sizes from a memory budget."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from editcore.errors import out_of_memory
from editcore.models.loading import LoadedModel

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# On a CPU, batches larger than its caches are no faster; a GPU takes a share of its free memory.
CPU_BUDGET = 2**29
SHARE_OF_FREE = 0.4


def in_halves(
    work: Callable[[Sequence[ItemT]], ResultT], items: Sequence[ItemT]
) -> Iterator[tuple[Sequence[ItemT], ResultT]]:
    """Yield `items` with the result of `work`; if memory runs out, do so for each half, and so on.

    A budget is an estimate, and other processes use memory too. If a single item does not fit, its
    error is raised.

    >>> def work(items):
    ...     if len(items) > 2:
    ...         raise MemoryError
    ...     return sum(items)
    >>> list(in_halves(work, (1, 2, 3, 4, 5)))
    [((1, 2), 3), ((3,), 3), ((4, 5), 9)]
    """
    try:
        result = work(items)
    except (MemoryError, RuntimeError) as error:
        if len(items) < 2 or not out_of_memory(error):
            raise
    else:
        yield items, result
        return
    # Outside of the except clause, so that the frames that hold the failed call's tensors are gone.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    yield from in_halves(work, items[:middle])
    yield from in_halves(work, items[middle:])


def neighbours(sizes: Sequence[int], limit: int) -> Iterator[range]:
    """The indices of neighbours whose sizes are at most `limit` together; one may be larger.

    >>> list(neighbours([2, 3, 4, 9, 1], limit=5))
    [range(0, 2), range(2, 3), range(3, 4), range(4, 5)]
    """
    first, total = 0, 0
    for i, size in enumerate(sizes):
        if i > first and total + size > limit:
            yield range(first, i)
            first, total = i, 0
        total += size
    if sizes:
        yield range(first, len(sizes))


def budget(device: torch.device) -> int:
    """Number of bytes that one batch may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(SHARE_OF_FREE * free)
    return CPU_BUDGET


def tokens_per_search(model: LoadedModel, layer: int) -> int:
    """Number of tokens whose activations from block `layer` on fit the budget, with gradients.

    A token counts, in float32: in each block about 16 vectors as wide as the states and 3 as wide
    as a key; at the head, for every third token, three rows as wide as the vocabulary.
    """
    width, key = _widths(model)
    floats = (model.parts.depth - layer) * (16 * width + 3 * key) + _vocabulary(model)
    return max(1, budget(model.device) // (4 * floats))


@dataclass(frozen=True)
class SearchSize:
    """The bytes that a step of the search for v* takes for each token of three kinds.

    Those that run `again` take, in each block from the edited one on, about 6 vectors as wide as
    the states and 3 as wide as a key; the latter are in bfloat16 in a model of that precision. All
    tokens of a row (`whole`) take their keys and values of attention twice: what is kept, and what
    attention reads. Those that are `predicted` take 3 rows as wide as the vocabulary, and one more
    where their logits at δ = 0 are known.
    """

    again: int
    whole: int
    predicted: int

    @classmethod
    def of(cls, model: LoadedModel, layer: int) -> "SearchSize":
        """Those of a model whose block `layer` is edited."""
        width, key = _widths(model)
        blocks = model.parts.depth - layer
        of_key = 2 if model.precision == "bfloat16" else 4
        again = 4 * 6 * width + of_key * 3 * key
        predicted = 4 if model.frozen.parts.head_is_rounded else 3
        return cls(
            blocks * again,
            blocks * 4 * _attention_width(model),
            4 * predicted * _vocabulary(model),
        )


def search_budget(device: torch.device) -> int:
    """Number of bytes that one batch of a search for v* may take: three quarters of the budget."""
    return budget(device) * 3 // 4


def tokens_per_pass(model: LoadedModel) -> int:
    """Number of tokens that take an eighth of the budget in a pass without gradients."""
    width, key = _widths(model)
    return max(1, budget(model.device) // 8 // (4 * (8 * width + 3 * key)))


def states_held(model: LoadedModel) -> int:
    """Number of tokens whose last hidden states take an eighth of the budget."""
    return max(1, budget(model.device) // 8 // (4 * _widths(model)[0]))


def tokens_held(model: LoadedModel) -> int:
    """Number of tokens whose keys and values take half of the budget."""
    size = model.model.dtype.itemsize * 2 * model.parts.depth * _attention_width(model)
    return max(1, budget(model.device) // 2 // size)


def rows_of_logits(model: LoadedModel) -> int:
    """Number of rows of float32 logits that take a sixteenth of the budget."""
    return max(1, budget(model.device) // 16 // (4 * _vocabulary(model)))


def _vocabulary(model: LoadedModel) -> int:
    return int(model.model.config.vocab_size)


def _attention_width(model: LoadedModel) -> int:
    """The width of a token's keys of attention; less than the states' if heads share keys."""
    config = model.model.config
    heads = int(config.num_attention_heads)
    shared = int(getattr(config, "num_key_value_heads", None) or heads)
    return int(config.hidden_size) * shared // heads


def _widths(model: LoadedModel) -> tuple[int, int]:
    """The widths of the states and of a key."""
    width = int(model.model.config.hidden_size)
    weight = model.parts.down(0).weight  # a buffer in a model of reduced precision
    assert isinstance(weight, torch.Tensor)
    return width, weight.numel() // width
