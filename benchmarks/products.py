"""How fast this machine multiplies the matrices of a model, in the ways that torch has."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor
from torch.nn.functional import linear

from editcore.models.architectures import stores_transposed
from editcore.models.arithmetic import kernels
from editcore.models.loading import LoadedModel


def speeds(model: LoadedModel, rows: list[int], rounds: int) -> dict[str, dict[str, str]]:
    """GFLOP/s of each kind of product, by map and number of rows: the median and the range."""
    name = model.parts.down_weight(0)
    down = model.model.get_parameter(name).detach()
    head = model.model.get_output_embeddings().weight.detach()
    weights = {
        "down-projection": down.T if stores_transposed(model.model, name) else down,
        "head": head,
    }
    return {
        f"{label} {weight.shape[1]} -> {weight.shape[0]}, {count} rows": _of(weight, count, rounds)
        for label, weight in weights.items()
        for count in rows
    }


@torch.no_grad()
def _of(weight: Tensor, rows: int, rounds: int) -> dict[str, str]:
    inputs = torch.ones(rows, weight.shape[1])
    half, halved = weight.bfloat16().contiguous(), inputs.bfloat16()
    ways: dict[str, Callable[[], object]] = {
        "float32 by default": lambda: linear(inputs, weight),
        "bfloat16": lambda: linear(halved, half),
    }
    if kernels.multiplies_with_onednn(torch.device("cpu")):
        ways["float32 by oneDNN"] = lambda: kernels.product(inputs, weight, None)
    for way in ways.values():
        way()
    taken = [{name: _seconds(way) for name, way in ways.items()} for _ in range(rounds)]
    return {
        name: _shown(2 * rows * weight.numel(), [each[name] for each in taken]) for name in ways
    }


def _seconds(way: Callable[[], object]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def _shown(operations: int, taken: list[float]) -> str:
    speed = [operations / seconds / 1e9 for seconds in taken]
    return f"{median(speed):.0f} GFLOP/s ({min(speed):.0f} to {max(speed):.0f})"
