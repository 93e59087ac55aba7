"""The predictor of collapse: its area, its threshold, its probabilities, and its files."""

import math
import random
from itertools import product
from pathlib import Path

import pytest
import torch

from editcore.collapse.calibration import area, balanced, curve, fit, recall_and_precision
from editcore.collapse.forecast import Forecaster, load
from editcore.collapse.verdict import warn
from editcore.datasets.bundled import bundled_models
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
    assert fit([float("inf"), 3.0], [True, False]).threshold > 3.0


def f1(scores: list[float], hit: list[bool], threshold: float) -> float:
    alarms = [score >= threshold for score in scores]
    caught = sum(a and h for a, h in zip(alarms, hit, strict=True))
    return 2 * caught / (sum(alarms) + sum(hit))


def test_no_other_threshold_has_a_higher_f1_on_what_it_was_fitted_on() -> None:
    scores, collapsed = drawn()
    fitted = fit(scores, collapsed)
    best = max(f1(scores, collapsed, score) for score in scores)
    assert f1(scores, collapsed, fitted.threshold) == pytest.approx(best)
    found = recall_and_precision(scores, collapsed, fitted.threshold)
    assert (fitted.recall, fitted.precision) == found


def test_the_threshold_is_in_the_middle_of_the_widest_gap() -> None:
    scores, hit = [1.0, 10.0, 1000.0, 2000.0], [False, False, True, True]
    assert fit(scores, hit).threshold == pytest.approx(100.0)
    # Above 3 and above 300 the F1 is 2/3; the latter gap is wider.
    scores, hit = [1.0, 2.0, 4.0, 5.0, 1e5], [False, True, False, False, True]
    assert fit(scores, hit).threshold == pytest.approx((5.0 * 1e5) ** 0.5)


def test_scores_without_information_make_every_edit_an_alarm() -> None:
    fitted = fit([2.0, 2.0, 2.0], [True, False, True])
    assert (fitted.recall, fitted.precision) == (1.0, pytest.approx(2 / 3))


def test_groups_of_any_size_count_the_same() -> None:
    weights = balanced(["a"] * 9 + ["b"])
    assert sum(weights[:9]) == pytest.approx(weights[9])
    # Nine edits of one model are hits above 1, the one of the other only above 100.
    scores, hit = [0.1, 0.1, 0.1, 10.0, 10.0, 10.0, 200.0, 200.0, 200.0], [False] * 3 + [True] * 6
    alone = fit(scores, hit)
    both = fit([*scores, 60.0], [*hit, False], balanced([*"aaaaaaaaa", "b"]))
    assert alone.threshold == pytest.approx(1.0)
    assert both.threshold > 60.0


def test_probabilities_sum_to_the_collapses_and_rise_with_the_score() -> None:
    scores, collapsed = drawn(2000)
    fitted = fit(scores, collapsed)
    expected = sum(map(fitted.probability, scores))
    # What a logistic fit with a free intercept guarantees.
    assert expected == pytest.approx(sum(collapsed), rel=1e-6)
    assert fitted.probability(0.0) < fitted.probability(1.0) < fitted.probability(float("inf"))


def test_classes_that_do_not_overlap_leave_the_slope_finite() -> None:
    fitted = fit([0.1, 0.2, 5.0, 9.0], [False, False, True, True])
    assert 0 < fitted.slope < 100
    assert fit([1.0, 2.0], [False, False]) is None
    assert fit([1.0, 2.0], [True, True]) is None


def test_a_file_restores_the_calibration(tmp_path: Path) -> None:
    fitted = Forecaster(fit(*drawn()), None, 200, {"small": "owner/small"}, "drawn")
    file = tmp_path / "calibration.json"
    file.write_text(fitted.as_json(), encoding="utf-8")
    assert load(file) == fitted
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="contains no calibration"):
        load(file)


def test_a_forecast_names_what_it_was_calibrated_on() -> None:
    fitted = fit([1.0, 2.0, 40.0, 90.0], [False, False, True, True])
    made = Forecaster(fitted, None, 4, {"small": "owner/small", "tiny": "tiny-gpt2"})
    found = made.forecast(9.0, None, "owner/other")
    assert (found.harm, found.known, found.edits) == (True, False, 4)
    assert found.calibrated_on == ("small", "tiny")
    assert (found.collapse_probability, found.collapse) == (None, None)
    assert made.forecast(8.9, None, "owner/small").known
    assert made.forecast(8.9, None, str(bundled_models()["tiny-gpt2"])).known
    assert not made.forecast(8.9, None, "tiny-gpt2").harm


def test_a_collapse_is_predicted_by_the_perplexity_ratio_and_not_if_that_is_unknown() -> None:
    harm, collapse = (fit([low, high], [False, True]) for low, high in ((0.02, 0.2), (2.0, 30.0)))
    made = Forecaster(harm, collapse, 2, {"small": "owner/small"})
    mild, ruined, unknown = (made.forecast(0.5, ratio, "other") for ratio in (3.0, 90.0, None))
    assert (mild.harm, mild.collapse) == (True, False)
    assert (ruined.harm, ruined.collapse) == (True, True)
    assert (unknown.harm, unknown.collapse, unknown.ratio) == (True, None, None)


def test_an_update_that_running_text_gets_much_of_is_warned_of_before_the_edit() -> None:
    prompt = fit([0.02, 0.05, 0.7, 3.0], [False, False, True, True])
    made = Forecaster(None, None, 4, {"small": "owner/small"}, prompt=prompt)
    much, little, all_of_it = (
        made.from_prompt(exposure, "owner/small") for exposure in (0.9, 0.03, math.inf)
    )
    assert (much.harm, little.harm, all_of_it.harm) == (True, False, True)
    assert all_of_it.probability > much.probability > 0.5 > little.probability
    assert much.collapse is None
    assert Forecaster(None, None, 4).from_prompt(0.9, "owner/small") is None


def test_warn_needs_no_study_and_changes_no_weight() -> None:
    model = wrap_model("tiny", *tiny_model("gpt2"))
    name = model.parts.down_weight(1)
    before = model.model.get_parameter(name).clone()
    generator = torch.Generator().manual_seed(1)
    sides = (torch.randn((d, 1), generator=generator) for d in (WIDTH, MLP_WIDTH))
    update = LowRankUpdate(*sides)
    size = float(before.norm()) / update.norm()
    huge, small = (
        warn(model, Delta({name: update.scaled(factor * size)}), ["Elro is", "Osdor makes lamps"])
        for factor in (1e4, 1e-4)
    )
    assert (huge.harm, small.harm) == (True, False)
    assert not huge.known
    assert huge.score > 0.5 > small.score == 0
    assert small.ratio == pytest.approx(1.0, rel=1e-3)
    assert huge.ratio != pytest.approx(1.0, rel=0.1)
    assert huge.probability > 0.95 > 0.05 > small.probability
    assert torch.equal(before, model.model.get_parameter(name))
