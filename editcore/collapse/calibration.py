"""Fits one predictor of what an edit does to a model, and tests it on other edits.

Imports no torch, and scikit-learn only when needed. A predictor is one number per edit that
increases with the risk. It is rated by the area under its ROC curve; its threshold separates the
edits that it was fitted on best.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Scores are compared by their logarithm; 0 and infinity are replaced by these.
ENDS = (1e-12, 1e12)
PRIOR = 1.0  # weight of slope² / 2; keeps the slope finite if the classes do not overlap
SLIGHTLY = 1e-9  # of a logarithm
TOLERANCE = 1e-8  # of the fit's gradient; all digits shown are then reproducible

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """P(hit) = 1 / (1 + exp(−intercept − slope · log₁₀ score)), and a threshold.

    A hit is an edit with the predicted outcome, such as a collapse. `edits` and `hits` are the
    numbers that it was fitted on; `recall` and `precision` are those of the threshold on them, the
    latter None if no score reaches it.
    """

    intercept: float
    slope: float
    threshold: float
    edits: int
    hits: int
    recall: float
    precision: float | None

    def probability(self, score: float) -> float:
        """The fitted probability of the outcome."""
        return probability(self.intercept, self.slope, score)


def probability(intercept: float, slope: float, score: float) -> float:
    """The probability of the outcome at a score, by a fitted line.

    >>> probability(0.0, 1.0, 1.0)
    0.5
    """
    return float(_logistic(intercept + slope * _log(np.array([score])))[0])


def fit(
    scores: Sequence[float],
    hit: Sequence[bool],
    weights: Sequence[float] | None = None,
    threshold: float | None = None,
) -> Calibration | None:
    """The calibration on some edits; None if none of them is a hit or all are.

    The default weights are equal; the default threshold is the one that separates best.

    >>> round(fit([0.1, 0.2, 3.0, 9.0], [False, False, True, True]).threshold, 3)
    0.775
    """
    from sklearn.linear_model import LogisticRegression

    given, y = np.asarray(scores, dtype=float), np.asarray(hit, dtype=bool)
    weight = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    if y.all() or not y.any():
        return None
    line = LogisticRegression(C=1 / PRIOR, solver="newton-cholesky", tol=TOLERANCE)
    line.fit(_log(given)[:, None], y, weight)
    intercept, slope = float(line.intercept_[0]), float(line.coef_[0, 0])
    limit = _separating(_log(given), y, weight) if threshold is None else threshold
    recall, precision = recall_and_precision(given.tolist(), y.tolist(), limit)
    assert recall is not None
    return Calibration(intercept, slope, limit, len(y), int(y.sum()), recall, precision)


def balanced(groups: Sequence[str]) -> list[float]:
    """Weights with which each group counts the same; their mean is 1.

    >>> balanced(["a", "a", "a", "b"])
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0]
    """
    found, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    weights: list[float] = (len(groups) / len(found) / counts)[places].tolist()
    return weights


def area(scores: Sequence[float], hit: Sequence[bool]) -> float | None:
    """The area under the ROC curve: how often a hit has a higher score than another edit.

    Ties count half. None unless there are edits of both kinds.

    >>> area([1.0, 2.0, 3.0, 3.0], [False, False, True, False])
    0.8333333333333334
    """
    from sklearn.metrics import roc_auc_score

    if all(hit) or not any(hit):
        return None
    return float(roc_auc_score(hit, _finite(scores)))


def curve(scores: Sequence[float], hit: Sequence[bool]) -> tuple[list[float], list[float]]:
    """The ROC curve: false and true alarm rates as the threshold falls, from (0, 0) to (1, 1).

    There must be edits of both kinds.
    """
    from sklearn.metrics import roc_curve

    across, up, _ = roc_curve(hit, _finite(scores), drop_intermediate=False)
    return across.tolist(), up.tolist()


def recall_and_precision(
    scores: Sequence[float], hit: Sequence[bool], threshold: float
) -> tuple[float | None, float | None]:
    """The share of hits at or above a threshold, and the share of hits among edits there.

    >>> recall_and_precision([0.1, 2.0, 3.0], [False, False, True], 1.5)
    (1.0, 0.5)
    """
    alarms = [found for score, found in zip(scores, hit, strict=True) if score >= threshold]
    caught, all_hits = sum(alarms), sum(hit)
    return (caught / all_hits if all_hits else None, caught / len(alarms) if alarms else None)


def _separating(logs: Values, hit: NDArray[np.bool_], weight: Values) -> float:
    """The threshold with the highest F1, 2 · caught / (alarms + hits).

    It is in the middle, on the logarithmic scale, between the scores next to it, so that it is as
    far from either side as possible; of several, it is the one in the widest gap.
    """
    order = np.argsort(logs)
    score, weight, hits = logs[order], weight[order], (weight * hit)[order]
    alarms, caught = (np.cumsum(each[::-1])[::-1] for each in (weight, hits))
    f1 = 2 * caught / (alarms + hits.sum())
    gap = np.diff(score, prepend=score[0])
    gap[0] = SLIGHTLY  # below all scores, which makes every edit an alarm
    best = np.flatnonzero((gap > 0) & np.isclose(f1, f1[gap > 0].max(), rtol=1e-9))
    cut = best[np.argmax(gap[best])]
    return float(10 ** (score[cut] - gap[cut] / 2))


def _log(scores: Values) -> Values:
    return np.log10(np.clip(scores, *ENDS))


def _finite(scores: Sequence[float]) -> Values:
    """The same order without infinities, which scikit-learn refuses."""
    found: Values = np.nan_to_num(np.asarray(scores, dtype=float))
    return found


def _logistic(x: Values) -> Values:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))
