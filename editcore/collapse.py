"""When an edited model counts as collapsed."""

import math
from dataclasses import dataclass

from editcore.config import CollapseSpec


@dataclass(frozen=True)
class Verdict:
    """Both verdicts on one edit, and the one that decides."""

    collapsed: bool
    collapsed_perplexity: bool
    collapsed_ratio: bool


def judge(perplexity: float, unedited: float, thresholds: CollapseSpec) -> Verdict:
    """The verdict on a perplexity; a non-finite one is a collapse by either rule.

    >>> judge(2000.0, 500.0, CollapseSpec())
    Verdict(collapsed=False, collapsed_perplexity=True, collapsed_ratio=False)
    """
    broken = not math.isfinite(perplexity)
    by_perplexity = broken or perplexity > thresholds.perplexity
    by_ratio = broken or perplexity > thresholds.ratio * unedited
    decided = by_ratio if thresholds.verdict == "ratio" else by_perplexity
    return Verdict(decided, by_perplexity, by_ratio)
