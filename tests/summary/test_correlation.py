"""Rank correlation agrees with scipy, sample by sample, and with the paper's numbers."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from editcore.errors import DataError
from editcore.records.schemas import CORRELATION, DOWNSTREAM
from editcore.records.tables import read_table, write_table
from editcore.summary.correlation import correlation, spearman, write_correlation

PUBLISHED_POINTS = Path(__file__).parents[2] / "shared" / "published" / "fig2_digitised.json"
# "The Butterfly Effect of Model Editing", Figure 2.
PUBLISHED = {
    "p13/GPT-2-XL/PIQA": -0.97,
    "p13/GPT-2-XL/HellaSwag": -0.90,
    "p13/GPT-2-XL/LAMBADA": -0.88,
    "p13/GPT-J/PIQA": -0.95,
    "p13/GPT-J/HellaSwag": -0.96,
    "p13/GPT-J/LAMBADA": -0.87,
    "p13/Llama2-7b/PIQA": -1.00,
    "p13/Llama2-7b/HellaSwag": -1.00,
    "p13/Llama2-7b/LAMBADA": -0.85,
    "p13/Llama2-7b(d)/MMLUsub": -0.90,
    "p13/Llama2-7b(d)/SQuAD2": -0.72,
    "p13/Llama2-7b(d)/NQ": -0.59,
}


@pytest.mark.skipif(not PUBLISHED_POINTS.exists(), reason="the digitised points are not here")
@pytest.mark.parametrize("curve", PUBLISHED)
def test_the_published_points_give_the_published_rho(curve: str) -> None:
    scores = json.loads(PUBLISHED_POINTS.read_text())[curve]
    found = spearman(range(len(scores)), scores, 500, 0)
    assert found.n == 23
    assert found.rho == pytest.approx(PUBLISHED[curve], abs=0.0051)
    assert found.p_value is not None and found.p_value < 0.01
    assert found.ci_low is not None and found.ci_high is not None
    assert found.ci_low <= found.rho <= found.ci_high


def test_the_interval_is_that_of_draws_made_one_by_one() -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=25)
    y = np.round(-x + draw.normal(size=25), 0)
    found = spearman(x.tolist(), y.tolist(), 60, 7)
    places = np.random.default_rng(7).integers(25, size=(60, 25))
    rhos = [stats.spearmanr(x[row], y[row]).statistic for row in places]
    assert found.ci_low == pytest.approx(np.quantile(rhos, 0.025))
    assert found.ci_high == pytest.approx(np.quantile(rhos, 0.975))


@pytest.mark.parametrize("scores", [[0.5] * 5, [0.1, 0.2]])
def test_without_variation_or_points_there_is_no_rho(scores: list[float]) -> None:
    found = spearman([float(i) for i in range(len(scores))], scores, 10, 0)
    assert (found.rho, found.p_value, found.ci_low, found.n) == (None, None, None, len(scores))


def row(
    case_id: int | None, perplexity: float, score: float | None, **changes: Any
) -> dict[str, Any]:
    """A model's score on one task."""
    edited = case_id is not None
    return {
        "model": "small",
        "editor": "alpha" if edited else None,
        "dataset": "hard" if edited else None,
        "case_id": case_id,
        "task": "words",
        "metric": "acc",
        "score": score,
        "random": 0.25,
        "status": "ok" if score is not None else "nonfinite",
        "perplexity": perplexity,
        "spread": edited,
        "top": False,
        "n_items": 100,
        **changes,
    }


def test_only_the_spread_and_the_unedited_model_are_correlated() -> None:
    rows = [row(None, 2.0, 0.9), row(1, 4.0, 0.8), row(2, 8.0, 0.5), row(3, 16.0, 0.3)]
    others = [
        row(4, 1.0, 0.0, spread=False, top=True),
        row(5, math.inf, None),
        row(6, 32.0, None),
    ]
    (found,) = correlation(pl.DataFrame(rows + others), 50, 0)
    assert (found["rho"], found["n"]) == (-1.0, 4)


def test_tables_are_gathered_with_the_unedited_rows_last(tmp_path: Path) -> None:
    files = []
    for model in ("small", "large"):
        rows = [row(None, 2.0, 0.9), *(row(i, 4.0 + i, 0.8 - 0.1 * i) for i in range(5))]
        files.append(tmp_path / f"{model}.parquet")
        write_table(files[-1], [each | {"model": model} for each in rows], DOWNSTREAM, {})
    write_correlation(files, tmp_path / "summary", 20, 0)
    scores = read_table(tmp_path / "summary" / "downstream.parquet", DOWNSTREAM)
    assert scores["case_id"].to_list() == [0, 1, 2, 3, 4, None] * 2
    table = read_table(tmp_path / "summary" / "correlation.parquet", CORRELATION)
    assert table.select("model", "task", "rho", "n").rows() == [
        ("large", "words", -1.0, 6),
        ("small", "words", -1.0, 6),
    ]


def test_two_unedited_rows_of_one_task_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="appears twice"):
        write_table(tmp_path / "t.parquet", [row(None, 2.0, 0.9)] * 2, DOWNSTREAM, {})


def test_nothing_to_gather_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="editcore downstream"):
        write_correlation([], tmp_path, 10, 0)
