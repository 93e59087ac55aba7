"""Single edits from the original weights, each with perplexity, by both implementations in turn."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.measure import PeakMemory, matmul_peak, search_flops
from benchmarks.shapes import SHAPES, Pair
from benchmarks.ways import Done, Fast, Plain
from benchmarks.workload import Workload
from editcore.collapse.verdict import judge
from editcore.config.collapse import CollapseSection
from editcore.evaluation.perplexity import measure
from editcore.keyvalue.value import pose
from editcore.requests import EditRequest


class Sweep:
    """One comparison on one shape."""

    def __init__(self, shape: str, pair: Pair, workload: Workload) -> None:
        self.layer = SHAPES[shape].layer
        self.workload, self.pair = workload, pair
        self.fast = Fast(pair.fast, workload, self.layer)
        self.plain = Plain(pair.plain, workload, self.layer)
        self.memory = PeakMemory(pair.fast.device)

    def race(self, rounds: int, cases: int) -> dict[str, Any]:
        """Rounds of the same new cases by both implementations, which take turns at going first."""
        self.fast.sweep(self.workload.cases(0, 1))
        found = [
            self._round(self.workload.cases(1 + i * cases, cases), plain_first=bool(i % 2))
            for i in tqdm(range(rounds), desc="rounds", unit="round")
        ]
        edits = rounds * cases
        fast, plain = (sum(f[way].total for f in found) for way in ("fast", "plain"))
        return {
            "ratio": median(f["plain"].total / f["fast"].total for f in found),
            "ratios": [f["plain"].total / f["fast"].total for f in found],
            "fast_edits_per_second": edits / fast,
            "reference_edits_per_second": edits / plain,
            "fast_seconds": _stages([f["fast"] for f in found], cases),
            "reference_seconds": _stages([f["plain"] for f in found], cases),
            "peak_share": median(f["peak_share"] for f in found),
            "matmul_peak_gflops": median(f["peak"] for f in found) / 1e9,
            "peak_memory_mb": max(f["memory"] for f in found),
            "agreement": self._agreement(found),
        }

    def _round(self, requests: list[EditRequest], *, plain_first: bool) -> dict[str, Any]:
        plain = self.plain.sweep(requests) if plain_first else None
        peak = matmul_peak(self.pair.fast.device)
        self.memory.reset()
        fast = self.fast.sweep(requests)
        memory = self.memory.read()
        plain = plain or self.plain.sweep(requests)
        share = self._flops(requests, fast) / fast.seconds["v*"] / peak
        return {"fast": fast, "plain": plain, "peak": peak, "peak_share": share, "memory": memory}

    def _flops(self, requests: Sequence[EditRequest], done: Done) -> float:
        model, templates = self.pair.fast, self.workload.templates
        problems = [pose(model, request, templates) for request in requests]
        options = self.fast.config.value_options()
        return search_flops(model, problems, done.values, options)

    def _agreement(self, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The largest differences between the two results, and whether any verdict differs."""
        base = measure(self.pair.plain, self.fast.edited.texts).mean
        pairs = [
            pair
            for f in found
            for pair in zip(
                f["fast"].deltas,
                f["plain"].deltas,
                f["fast"].perplexities,
                f["plain"].perplexities,
                strict=True,
            )
        ]
        cosines, norms = [], []
        for ours, theirs, _, _ in pairs:
            (a,), (b,) = ours.updates.values(), theirs.updates.values()
            cosines.append(float((a.dense() * b.dense()).sum() / (a.norm() * b.norm())))
            norms.append(abs(a.norm() / b.norm() - 1))
        spec = CollapseSection()
        verdicts = [judge(p, base, spec) != judge(q, base, spec) for *_, p, q in pairs]
        return {
            "cases": len(pairs),
            "least_cosine_of_update": min(cosines),
            "largest_relative_difference_of_norm": max(norms),
            "largest_relative_difference_of_perplexity": max(abs(p / q - 1) for *_, p, q in pairs),
            "verdicts_changed": sum(verdicts),
        }

    def both_editors(self, cases: int) -> dict[str, float]:
        """The time of ROME and C-ROME together, as a multiple of ROME alone."""
        done = self.fast.sweep(self.workload.cases(0, cases), ("rome", "c-rome"))
        one = done.seconds["v*"] + done.seconds["edit"]
        edits = one + done.seconds["other editors"]
        reading = done.seconds["perplexity"]
        return {"edits": edits / one, "edits_and_perplexity": done.total / (one + reading / 2)}

    def growth(self, sizes: Sequence[int]) -> dict[str, dict[str, float]]:
        """Seconds per case and peak memory by the number of cases in one sweep."""
        found = {}
        for size in tqdm(sizes, desc="growth", unit="sweep"):
            self.memory.reset()
            done = self.fast.sweep(self.workload.cases(0, size))
            found[str(size)] = {
                "seconds_per_case": done.total / size,
                "peak_memory_mb": self.memory.read(),
            }
        return found


def _stages(done: Sequence[Done], cases: int) -> dict[str, float]:
    """Median seconds per case of every stage."""
    return {stage: median(d.seconds[stage] for d in done) / cases for stage in done[0].seconds}
