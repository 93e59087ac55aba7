"""Sequential edits, with perplexity after each, by both implementations in turn."""

from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.measure import PeakMemory, seconds
from benchmarks.shapes import SHAPES, Pair
from benchmarks.ways import Done, Fast, Plain
from benchmarks.workload import Workload
from editcore.evaluation.perplexity import Perplexity
from editcore.requests import EditRequest
from editcore.updates.delta import Delta, combine_deltas


def race(shape: str, pair: Pair, workload: Workload, edits: int) -> dict[str, Any]:
    """`edits` sequential edits by both implementations; the ratio is the median over the edits."""
    layer = SHAPES[shape].layer
    fast, plain = Fast(pair.fast, workload, layer), Plain(pair.plain, workload, layer)
    memory = PeakMemory(pair.fast.device)
    fast.sweep(workload.cases(edits, 1))
    memory.reset()
    ours, theirs = Done([], []), Done([], [], seconds={"edit": 0.0, "perplexity": 0.0})
    times: list[tuple[float, float]] = []
    for request in tqdm(workload.cases(0, edits), desc="edits", unit="edit"):
        before = theirs.total
        step = seconds(lambda r=request: _fast_step(fast, r, ours), pair.fast.device)  # type: ignore[misc]
        with combine_deltas(theirs.deltas).applied(plain.model.model):
            plain.step(request, theirs)
        times.append((step, theirs.total - before))
    ratios = [theirs_took / ours_took for ours_took, theirs_took in times]
    total = [sum(column) for column in zip(*times, strict=True)]
    return {
        "edits": edits,
        "ratio": median(ratios),
        "ratios": ratios,
        "fast_edits_per_second": edits / total[0],
        "reference_edits_per_second": edits / total[1],
        "peak_memory_mb": memory.read(),
        "largest_relative_difference_of_perplexity": max(
            abs(p / q - 1) for p, q in zip(ours.perplexities, theirs.perplexities, strict=True)
        ),
        "perplexities": ours.perplexities,
        "reference_perplexities": theirs.perplexities,
    }


def _fast_step(fast: Fast, request: EditRequest, done: Done) -> None:
    """One more edit; perplexity is measured with all edits so far overlaid on the unedited model.

    All edits change one layer, so the unedited model's states cached at it are valid for the whole
    sequence.
    """
    with combine_deltas(done.deltas).applied(fast.model.model):
        made = fast.edit(request)
    done.deltas.append(made)
    done.perplexities.append(_read(fast, combine_deltas(done.deltas)).mean)


def _read(fast: Fast, delta: Delta) -> Perplexity:
    return fast.edited.of([delta])[0]
