"""How much work fits into memory at once, so that batches follow from a budget."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from editcore.models.loading import LoadedModel

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# Larger batches than fit the caches of a processor are no faster; graphics cards take what is free.
CPU_BUDGET = 2**29
SHARE_OF_FREE = 0.4


def in_halves(
    work: Callable[[Sequence[ItemT]], ResultT], items: Sequence[ItemT]
) -> Iterator[tuple[Sequence[ItemT], ResultT]]:
    """Yield what `work` makes of `items`; where memory runs out, of their halves, and so on.

    A budget is an estimate, and other processes take memory too. What one item alone needs cannot
    be cut: its error is raised.

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
        if len(items) < 2 or not _out_of_memory(error):
            raise
    else:
        yield items, result
        return
    # Only here are the frames gone that held the tensors of the failed try.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    yield from in_halves(work, items[:middle])
    yield from in_halves(work, items[middle:])


def _out_of_memory(error: Exception) -> bool:
    """Whether torch, on any device, could not allocate."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "allocate memory" in str(error) or "out of memory" in str(error).lower()


def budget(device: torch.device) -> int:
    """Bytes that one batch may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(SHARE_OF_FREE * free)
    return CPU_BUDGET


def tokens_per_search(model: LoadedModel, layer: int) -> int:
    """Tokens whose activations after block `layer` fit the budget, kept for the way back.

    Counted per token: in each block about 16 vectors as wide as the states and 3 as wide as a key,
    and at the head three rows as wide as the vocabulary for every third token; in float32.
    """
    width, key = _widths(model)
    floats = (model.parts.depth - layer) * (16 * width + 3 * key) + _vocabulary(model)
    return max(1, budget(model.device) // (4 * floats))


def tokens_per_pass(model: LoadedModel) -> int:
    """Tokens that take an eighth of the budget in a pass that keeps nothing for a way back."""
    width, key = _widths(model)
    return max(1, budget(model.device) // 8 // (4 * (8 * width + 3 * key)))


def rows_of_logits(model: LoadedModel) -> int:
    """Rows of float32 logits that take an eighth of the budget."""
    return max(1, budget(model.device) // 8 // (4 * _vocabulary(model)))


def _vocabulary(model: LoadedModel) -> int:
    return int(model.model.config.vocab_size)


def _widths(model: LoadedModel) -> tuple[int, int]:
    """The widths of the states and of a key."""
    width = int(model.model.config.hidden_size)
    weight = model.parts.down(0).weight  # no parameter in a model of reduced precision
    assert isinstance(weight, torch.Tensor)
    return width, weight.numel() // width
