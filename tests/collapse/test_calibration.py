"""The predictor of collapse: its area, its threshold, its probabilities, and its files."""

import random
from itertools import product
from pathlib import Path

import pytest
import torch

from editcore.collapse.calibration import area, curve, fit, load, recall_and_precision
from editcore.collapse.verdict import warn
from editcore.errors import DataError
from editcore.models.loading import wrap_model
from editcore.testing.models import MLP_WIDTH, WIDTH, tiny_model
from editcore.updates.delta import Delta, LowRankUpdate


def drawn(n: int = 200) -> tuple[list[float], list[bool]]:
    """Scores that are higher for collapses, with overlap and ties."""
    draw = random.Random(0)
    collapsed = [draw.random() < 0.3 for _ in range(n)]
    return [round(10 ** draw.gauss(1.0 if c else 0.0, 0.7), 1) for c in collapsed], collapsed


def test_area_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, collapsed = drawn()
    bad = [s for s, c in zip(scores, collapsed, strict=True) if c]
    good = [s for s, c in zip(scores, collapsed, strict=True) if not c]
    pairs = [(b > g) + 0.5 * (b == g) for b, g in product(bad, good)]
    assert area(scores, collapsed) == pytest.approx(sum(pairs) / len(pairs))
    assert area([-s for s in scores], collapsed) == pytest.approx(1 - sum(pairs) / len(pairs))
    assert area(good, [False] * len(good)) is None


def test_the_area_is_that_under_the_curve() -> None:
    scores, collapsed = drawn()
    across, up = curve(scores, collapsed)
    assert (across[0], up[0], across[-1], up[-1]) == (0, 0, 1, 1)
    under = sum(
        (across[i] - across[i - 1]) * (up[i] + up[i - 1]) / 2 for i in range(1, len(across))
    )
    assert under == pytest.approx(area(scores, collapsed))


def test_an_infinite_score_ranks_above_every_other() -> None:
    scores, collapsed = [float("inf"), 3.0, 1.0, 0.0], [True, False, True, False]
    assert area(scores, collapsed) == 0.75
    assert curve(scores, collapsed) == ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0])
    assert fit(scores, collapsed, "four").threshold == 1.0


def test_the_threshold_misses_nothing_that_it_was_fitted_on() -> None:
    scores, collapsed = drawn()
    fitted = fit(scores, collapsed, "drawn")
    recall, precision = recall_and_precision(scores, collapsed, fitted.threshold)
    assert recall == 1
    above, _ = recall_and_precision(scores, collapsed, fitted.threshold * 1.0001)
    assert above < 1
    assert precision == sum(collapsed) / sum(s >= fitted.threshold for s in scores)
    assert fitted.forecast(fitted.threshold).collapse
    assert not fitted.forecast(fitted.threshold * 0.99).collapse


def test_probabilities_sum_to_the_collapses_and_rise_with_the_score() -> None:
    scores, collapsed = drawn(2000)
    fitted = fit(scores, collapsed, "drawn")
    expected = sum(map(fitted.probability, scores))
    # What a logistic fit with a free intercept guarantees.
    assert expected == pytest.approx(sum(collapsed), rel=1e-6)
    assert fitted.probability(0.0) < fitted.probability(1.0) < fitted.probability(float("inf"))


def test_classes_that_do_not_overlap_leave_the_slope_finite() -> None:
    fitted = fit([0.1, 0.2, 5.0, 9.0], [False, False, True, True], "four")
    assert 0 < fitted.slope < 100
    assert fit([1.0, 2.0], [False, False], "none") is None
    assert fit([1.0, 2.0], [True, True], "all") is None


def test_a_file_restores_the_calibration(tmp_path: Path) -> None:
    fitted = fit(*drawn(), "drawn")
    file = tmp_path / "calibration.json"
    file.write_text(fitted.as_json(), encoding="utf-8")
    assert load(file) == fitted
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="contains no calibration"):
        load(file)


def test_warn_needs_no_study_and_changes_no_weight() -> None:
    model = wrap_model("tiny", *tiny_model("gpt2"))
    name = model.parts.down_weight(1)
    before = model.model.get_parameter(name).clone()
    update = LowRankUpdate(torch.ones(WIDTH, 1), torch.ones(MLP_WIDTH, 1))
    size = float(before.norm()) / update.norm()
    huge, small = (
        warn(model, Delta({name: update.scaled(factor * size)})) for factor in (1e4, 1e-4)
    )
    assert (huge.collapse, small.collapse) == (True, False)
    assert huge.score == pytest.approx(1e4, rel=1e-4)
    assert huge.probability > 0.99 > 0.01 > small.probability
    assert torch.equal(before, model.model.get_parameter(name))
