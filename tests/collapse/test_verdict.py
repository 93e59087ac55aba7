"""Both verdicts, at and around their thresholds."""

import math

import pytest

from editcore.collapse.verdict import judge
from editcore.config.study import CollapseSection


@pytest.mark.parametrize(
    ("perplexity", "by_perplexity", "by_ratio"),
    [(1000.0, False, True), (1000.1, True, True), (20.0, False, False), (20.1, False, True)],
)
def test_thresholds_are_exceeded_not_reached(perplexity, by_perplexity, by_ratio) -> None:
    verdict = judge(perplexity, 2.0, CollapseSection())
    assert verdict.collapsed_perplexity is by_perplexity
    assert verdict.collapsed_ratio is by_ratio


@pytest.mark.parametrize("rule", ["ratio", "perplexity"])
def test_the_config_says_which_decides_and_infinity_is_a_collapse_by_both(rule) -> None:
    spec = CollapseSection(verdict=rule)
    assert judge(100.0, 2.0, spec).collapsed is (rule == "ratio")
    assert judge(math.inf, 2.0, spec).collapsed
    assert judge(math.inf, 2.0, spec).collapsed_perplexity
