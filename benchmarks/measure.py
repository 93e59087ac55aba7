"""Measures the machine's speed, the operations of a search, and the memory of a block of code."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from editcore.config.value_options import ValueOptions
from editcore.keyvalue.value import Value, ValueProblem
from editcore.models.loading import LoadedModel

SIZE, PRODUCTS = 2048, 5


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """The wall-clock time of some work, including all work on the device."""
    _finish(device)
    started = time.perf_counter()
    work()
    _finish(device)
    return time.perf_counter() - started


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(device: torch.device) -> float:
    """FLOP/s of a large float32 matrix product, the median of several."""
    a, b = (torch.randn(SIZE, SIZE, device=device) for _ in range(2))
    times = [seconds(lambda: a @ b, device) for _ in range(PRODUCTS + 1)][1:]
    return 2 * SIZE**3 / median(times)


def search_flops(
    model: LoadedModel,
    problems: Sequence[ValueProblem],
    values: Sequence[Value],
    options: ValueOptions,
) -> float:
    """FLOPs of the matrix products that a search needs, without padding and attention scores.

    Once: every different prefix through all blocks, and what follows it up to the edited block. In
    every step, forward and backward (in the last one only forward): the later blocks over the real
    tokens from the subject on, with the last MLP and the head only where a token is predicted.
    """
    parts = model.parts
    blocks = [_weights(parts.block(i)) for i in range(parts.depth)]
    before, after = blocks[: options.layer + 1], blocks[options.layer + 1 :]
    last_mlp = _weights(parts.mlp(parts.depth - 1)) if after else 0
    head = _weights(model.model.get_output_embeddings())
    prefixes = {p.ids[: p.subject] for problem in problems for p in problem.prompts}
    total = 2.0 * sum(map(len, prefixes)) * sum(blocks)
    for problem, value in zip(problems, values, strict=True):
        target = len(problem.target) - 1
        rows = [len(p.ids) - p.subject + target for p in problem.prompts]
        tokens = sum(rows) + len(problem.kl_prompt.ids) - problem.kl_prompt.subject
        read = len(rows) * len(problem.target) + 1
        step = tokens * (sum(after) - last_mlp) + read * (last_mlp + head)
        total += 2 * tokens * sum(before) + 2 * step * (2 * value.steps - 1)
    return total


def _weights(module: nn.Module) -> int:
    maps = (m for m in module.modules() if isinstance(m, nn.Linear | Conv1D))
    return sum(m.weight.numel() for m in maps)


class PeakMemory:
    """The peak memory of the process, or of the device, since the last reset, in MB."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reset(self) -> None:
        """Forget earlier peaks; if the system does not allow this, peaks only increase."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def read(self) -> float:
        """The peak in MB (10^6 bytes)."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e6
        status = Path("/proc/self/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
