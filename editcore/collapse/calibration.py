"""From what is known of edits before they are made to whether they collapse a model: fit and test.

Free of torch, and scikit-learn is imported where it is called. A predictor is one number per edit,
the larger the worse; what it is worth is its area under the ROC curve, and its threshold is the one
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
# Scores are compared as powers of ten; a change that is zero or infinite is put at the ends.
ENDS = (1e-12, 1e12)
PRIOR = 1.0  # weight of slope² / 2, so that classes that do not overlap leave the slope finite
TOLERANCE = 1e-8  # of the fit's gradient, so that a refit agrees in all digits that are shown


@dataclass(frozen=True)
class Forecast:
    """What a calibration says of one edit; `collapse`: the score reaches the threshold."""

    score: float
    probability: float
    threshold: float
    collapse: bool


@dataclass(frozen=True)
class Calibration:
    """P(collapse) = 1 / (1 + exp(−intercept − slope · log₁₀ score)), and the safe threshold.

    `threshold` is the least score among the collapses that it was fitted on: it missed none of
    them. `edits` and `collapses` count what it was fitted on, and `made_from` names it.
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
        """What to expect of an edit with this score."""
        collapse = score >= self.threshold
        return Forecast(score, self.probability(score), self.threshold, collapse)

    def as_json(self) -> str:
        """The calibration as JSON, as `load` reads it."""
        return json.dumps(asdict(self), indent=1) + "\n"


def load(path: Path | None = None) -> Calibration:
    """A calibration from a file; without one, that of the bundled models, which editcore ships.

    Raises `DataError` for a file that holds none.
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
    """The calibration of some edits; None where none of them collapsed, or all did.

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
    """Area under the ROC curve: how often a collapse has a higher score than another edit.

    Ties count half. None where there is nothing to compare.

    >>> area([1.0, 2.0, 3.0, 3.0], [False, False, True, False])
    0.8333333333333334
    """
    from sklearn.metrics import roc_auc_score

    if all(collapsed) or not any(collapsed):
        return None
    return float(roc_auc_score(collapsed, _finite(scores)))


def curve(scores: Sequence[float], collapsed: Sequence[bool]) -> tuple[list[float], list[float]]:
    """The ROC curve: false and true alarm rates as the threshold falls, from (0, 0) to (1, 1).

    Both kinds of edits must be among those given.
    """
    from sklearn.metrics import roc_curve

    across, up, _ = roc_curve(collapsed, _finite(scores), drop_intermediate=False)
    return across.tolist(), up.tolist()


def recall_and_precision(
    scores: Sequence[float], collapsed: Sequence[bool], threshold: float
) -> tuple[float | None, float | None]:
    """Share of collapses that a threshold finds, and share of its alarms that are collapses.

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
