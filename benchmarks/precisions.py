"""The same edits of one model in float32 and in bfloat16, by turns."""

import time
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.ways import Done, Fast
from benchmarks.workload import Workload
from editcore.config.study import Precision
from editcore.models.loading import load_model

BOTH: tuple[Precision, Precision] = ("float32", "bfloat16")
EDITORS = ("rome", "c-rome")


def compare(
    source: str, workload: Workload, layer: int, rounds: int, cases: int, steps: int
) -> dict[str, Any]:
    """ROME and C-ROME of each round's new facts, with perplexity after each edit.

    Seconds and processor seconds are of one fact with both editors: the median, the least and the
    most of the rounds. `speedup` is float32's seconds divided by bfloat16's in the same round.
    """
    ways = {p: Fast(load_model("model", source, precision=p), workload, layer, steps) for p in BOTH}
    for way in ways.values():
        way.sweep(workload.cases(0, 1))  # what is kept from one sweep to the next is computed here
    found: dict[Precision, list[tuple[Done, float]]] = {p: [] for p in BOTH}
    for i in tqdm(range(rounds), desc="rounds", unit="round"):
        for precision in reversed(BOTH) if i % 2 else BOTH:
            started = time.process_time()
            done = ways[precision].sweep(workload.cases(1 + i * cases, cases), EDITORS)
            found[precision].append((done, time.process_time() - started))
    pairs = list(zip(*(found[p] for p in BOTH), strict=True))
    perplexities = [
        abs(half / full - 1)
        for (a, _), (b, _) in pairs
        for full, half in zip(a.perplexities, b.perplexities, strict=True)
    ]
    return {
        "speedup": _spread([a.total / b.total for (a, _), (b, _) in pairs]),
        "largest relative difference of perplexity": max(perplexities),
        **{p: _costs(found[p], cases) for p in BOTH},
    }


def _costs(found: list[tuple[Done, float]], cases: int) -> dict[str, dict[str, float]]:
    return {
        "s a fact": _spread([done.total / cases for done, _ in found]),
        "CPU s a fact": _spread([used / cases for _, used in found]),
        **{
            f"{stage}, s a fact": _spread([done.seconds[stage] / cases for done, _ in found])
            for stage in ("v*", "perplexity")
        },
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": median(values), "least": min(values), "most": max(values)}
