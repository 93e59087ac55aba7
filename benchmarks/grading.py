"""What grades and the warning cost: the time of an edit's perplexity pass without and with them."""

import time
from collections.abc import Callable
from statistics import median

import torch

from editcore.collapse.sample import Sample
from editcore.datasets.readers import read_texts
from editcore.evaluation.perplexity import EditedPerplexity, read_unedited, tokenize
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import PerplexitySpec
from editcore.updates.delta import Delta, LowRankUpdate

SIZE = 1e-3  # of the updates' numbers; their values do not change what a pass costs


def costs(
    model: LoadedModel, layer: int, spec: PerplexitySpec, edits: int, rounds: int
) -> dict[str, float]:
    """Seconds per edit, medians over rounds, for `edits` rank-one changes measured together.

    `perplexity` alone, `graded` with the predictions that grades are about, and the `sample` that
    the warning reads; both extras also as shares of the first.
    """
    tokens = tokenize(model, read_texts(spec.path, spec.texts))
    predictions = read_unedited(model, tokens).predictions
    passes: dict[str, Callable[[list[Delta]], object]] = {
        "perplexity": EditedPerplexity(model, tokens).of,
        "graded": EditedPerplexity(model, tokens, predictions).of,
        "sample": Sample.of(model, spec).effects,
    }
    changes = [_change(model, layer, seed) for seed in range(edits)]
    for run in passes.values():
        run(changes)  # what is kept from one call to the next is computed here
    taken = [{name: _seconds(run, changes) for name, run in passes.items()} for _ in range(rounds)]
    found = {f"{name} s": median(each[name] for each in taken) / edits for name in passes}
    whole = found["perplexity s"]
    return found | {
        "grades, share": median(each["graded"] / each["perplexity"] for each in taken) - 1,
        "sample, share": found["sample s"] / whole,
    }


def _change(model: LoadedModel, layer: int, seed: int) -> Delta:
    name = model.parts.down_weight(layer)
    shape = model.model.get_parameter(name).shape
    sizes = reversed(shape) if stores_transposed(model.model, name) else shape
    draw = torch.Generator().manual_seed(seed)
    factors = [SIZE * torch.randn(size, 1, generator=draw) for size in sizes]
    return Delta({name: LowRankUpdate(*factors)})


def _seconds(run: Callable[[list[Delta]], object], changes: list[Delta]) -> float:
    started = time.perf_counter()
    run(changes)
    return time.perf_counter() - started
