"""Times the estimation of C against the forward passes that it cannot do without."""

import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch

from editcore.keyvalue.estimation.moment_accumulator import MomentSums, batches_within, keys_of
from editcore.models import hooks
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import pad_rows

UNIT = 10_000

Batches = Sequence[Sequence[Sequence[int]]]


@torch.no_grad()
def costs(
    model: LoadedModel, layers: Sequence[int], texts: Sequence[str], tokens: int, rounds: int
) -> dict[str, Any]:
    """Seconds per 10,000 tokens of C and of the passes alone, over the same batches in turn.

    The ratio is that of a round, so other work on the machine changes it less than the seconds.
    """
    batches = list(batches_within(model, texts, tokens))
    read = sum(len(row) for batch in batches for row in batch)
    work: dict[str, Callable[[LoadedModel, Sequence[int], Batches], None]] = {
        "forward": _forward,
        "C": _second_moment,
    }
    for run in work.values():
        run(model, layers, batches[:1])
    seconds = [
        {name: _timed(run, model, layers, batches) for name, run in work.items()}
        for _ in range(rounds)
    ]
    ratios = [each["C"] / each["forward"] for each in seconds]
    found = {
        f"{name}, seconds per {UNIT:,} tokens": _spread([s[name] * UNIT / read for s in seconds])
        for name in work
    }
    return {"tokens": read, "batches": len(batches), **found, "C / forward": _spread(ratios)}


def _forward(model: LoadedModel, layers: Sequence[int], batches: Batches) -> None:
    """The passes up to the deepest layer's keys, which are thrown away."""
    for rows in batches:
        batch = pad_rows(rows, model.pad_id, "right", model.device)
        with hooks.recording_input(model.parts.down(max(layers)), stop=True):
            model.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)


def _second_moment(model: LoadedModel, layers: Sequence[int], batches: Batches) -> None:
    sums = MomentSums()
    for rows in batches:
        sums.add(keys_of(model, layers, rows))


def _timed(run: Callable[..., None], model: LoadedModel, *given: Any) -> float:
    _finished(model)
    started = time.perf_counter()
    run(model, *given)
    _finished(model)
    return time.perf_counter() - started


def _finished(model: LoadedModel) -> None:
    """Wait until a graphics card has done what it was given."""
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)


def _spread(numbers: Sequence[float]) -> dict[str, float]:
    return {"median": median(numbers), "least": min(numbers), "most": max(numbers)}
