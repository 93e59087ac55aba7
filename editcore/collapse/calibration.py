"""Calibrates a predictor of collapse on edits, and tests it on others.

Imports no torch, and scikit-learn only when needed. A predictor is one number per edit that
increases with the risk. It is rated by the area under its ROC curve; its threshold is the highest
that misses no collapse it was fitted on.
"""

import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from editcore.errors import DataError

SHIPPED = "warning.json"
# Scores are compared by their logarithm; 0 and infinity are replaced by these.
ENDS = (1e-12, 1e12)
PRIOR = 1.0  # weight of slope² / 2; keeps the slope finite if the classes do not overlap
TOLERANCE = 1e-8  # of the fit's gradient; all digits shown are then reproducible


@dataclass(frozen=True)
class Forecast:
    """A prediction for one edit; `collapse` is true if the score reaches the threshold."""

    score: float
    probability: float
    threshold: float
    collapse: bool


@dataclass(frozen=True)
class Calibration:
    """P(collapse) = 1 / (1 + exp(−intercept − slope · log₁₀ score)), and a threshold.

    `threshold` is the lowest score among the collapses that it was fitted on, so it missed none of
    them. `edits` and `collapses` are the numbers of edits and collapses that it was fitted on, and
    `made_from` names these.
    """

    intercept: float
    slope: float
    threshold: float
    edits: int
    collapses: int
    made_from: str = ""

    def probability(self, score: float) -> float:
        """The fitted probability of a collapse."""
        return float(_logistic(self.intercept + self.slope * _log(np.array([score])))[0])

    def forecast(self, score: float) -> Forecast:
        """The prediction for an edit with this score."""
        collapse = score >= self.threshold
        return Forecast(score, self.probability(score), self.threshold, collapse)

    def as_json(self) -> str:
        """The calibration as JSON, as `load` reads it."""
        return json.dumps(asdict(self), indent=1) + "\n"


def load(path: Path | None = None) -> Calibration:
    """A calibration from a file; by default, that of the bundled models.

    Raises `DataError` for a file without one.
    """
    shipped = importlib.resources.files("editcore.collapse") / SHIPPED
    try:
        text = (shipped if path is None else path).read_text(encoding="utf-8")
        return Calibration(**json.loads(text))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path or shipped} contains no calibration ({error}); give a file that "
            "`Calibration.as_json` wrote"
        ) from None


def fit(scores: Sequence[float], collapsed: Sequence[bool], made_from: str) -> Calibration | None:
    """The calibration on some edits; None if none of them collapsed or all did.

    >>> fit([0.1, 0.2, 3.0, 9.0], [False, False, True, True], "four edits").threshold
    3.0
    """
    from sklearn.linear_model import LogisticRegression

    given, y = np.asarray(scores, dtype=float), np.asarray(collapsed, dtype=bool)
    if y.all() or not y.any():
        return None
    line = LogisticRegression(C=1 / PRIOR, solver="newton-cholesky", tol=TOLERANCE)
    line.fit(_log(given)[:, None], y)
    intercept, slope = float(line.intercept_[0]), float(line.coef_[0, 0])
    return Calibration(intercept, slope, float(given[y].min()), len(y), int(y.sum()), made_from)


def area(scores: Sequence[float], collapsed: Sequence[bool]) -> float | None:
    """The area under the ROC curve: how often a collapse has a higher score than another edit.

    Ties count half. None unless there are edits of both kinds.

    >>> area([1.0, 2.0, 3.0, 3.0], [False, False, True, False])
    0.8333333333333334
    """
    from sklearn.metrics import roc_auc_score

    if all(collapsed) or not any(collapsed):
        return None
    return float(roc_auc_score(collapsed, _finite(scores)))


def curve(scores: Sequence[float], collapsed: Sequence[bool]) -> tuple[list[float], list[float]]:
    """The ROC curve: false and true alarm rates as the threshold falls, from (0, 0) to (1, 1).

    There must be edits of both kinds.
    """
    from sklearn.metrics import roc_curve

    across, up, _ = roc_curve(collapsed, _finite(scores), drop_intermediate=False)
    return across.tolist(), up.tolist()


def recall_and_precision(
    scores: Sequence[float], collapsed: Sequence[bool], threshold: float
) -> tuple[float | None, float | None]:
    """The share of collapses above a threshold, and the share of edits above it that are collapses.

    >>> recall_and_precision([0.1, 2.0, 3.0], [False, False, True], 1.5)
    (1.0, 0.5)
    """
    alarms = [broken for score, broken in zip(scores, collapsed, strict=True) if score >= threshold]
    hits, bad = sum(alarms), sum(collapsed)
    return (hits / bad if bad else None, hits / len(alarms) if alarms else None)


def _log(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log10(np.clip(scores, *ENDS))


def _finite(scores: Sequence[float]) -> NDArray[np.float64]:
    """The same order without infinities, which scikit-learn refuses."""
    found: NDArray[np.float64] = np.nan_to_num(np.asarray(scores, dtype=float))
    return found


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))
