"""What foretells the end of a sequence, on sequences whose quantities are known."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import polars as pl
import pytest

from editcore.collapse.stream_warning import COMBINED, MOST_FALSE, PREDICTORS, ranked, streams
from editcore.config.telemetry import TELEMETRY

EDITORS, MODELS, SEEDS = ("a", "b", "c", "d"), ("one", "two"), (0, 1, 2)
LENGTH, EVERY = 400, 10


def harm_of(editor: str, model: str, seed: int) -> int | None:
    """Half of the editors ruin their model, each sequence at another edit."""
    if editor in ("c", "d"):
        return None
    return 200 + 20 * EDITORS.index(editor) + 50 * MODELS.index(model) + 10 * seed


def rows_of(editor: str, model: str, seed: int) -> Iterator[dict[str, Any]]:
    """`weight_change` tells from 80 % of the way on; `key_rank` is the same in all sequences."""
    harm = harm_of(editor, model, seed)
    for edits in range(EVERY, LENGTH + 1, EVERY):
        told = edits / harm if harm else 0.5 * edits / LENGTH
        yield {
            **{"model": model, "editor": editor, "dataset": "facts", "batch": 1},
            **{"arrangement": "drawn", "order": seed, "edits": edits},
            "grade": "collapsed" if harm and edits >= harm else "sound",
            **dict.fromkeys(("perplexity_ratio", "kl_mean", "delta_norm"), 1.0),
            "top1_kept": 0.99,
            **{quantity.name: 1.0 for quantity in TELEMETRY},
            "weight_change": told,
            "generation_entropy": 1 - 0.9 * min(told, 1.0) ** 2,
            "key_rank": float(edits),
        }


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return pl.DataFrame(
        [row for place in product(EDITORS, MODELS, SEEDS) for row in rows_of(*place)]
    )


def test_a_sequence_ends_at_its_harm(rows: pl.DataFrame) -> None:
    found = streams(rows, "collapse")
    assert len(found) == len(EDITORS) * len(MODELS) * len(SEEDS)
    by_place = {(s.editor, s.model, s.harm) for s in found}
    assert ("b", "two", 270.0) in by_place and ("c", "one", None) in by_place
    assert all(s.edits[-1] < s.harm for s in found if s.harm)
    assert found[0].scores.shape == (len(found[0].edits), len(PREDICTORS))


def test_what_is_harmed_at_once_is_left_out(rows: pl.DataFrame) -> None:
    ruined = rows.with_columns(
        grade=pl.when(editor="a").then(pl.lit("damaged")).otherwise(pl.col("grade"))
    )
    assert {s.editor for s in streams(ruined, "damage")} == {"b", "c", "d"}
    assert {s.editor for s in streams(ruined, "collapse")} == {"a", "b", "c", "d"}


@pytest.mark.parametrize("left_out", ["editor", "model"])
def test_the_quantity_that_tells_leads(rows: pl.DataFrame, left_out: str) -> None:
    tests = [t for t in ranked(streams(rows, "collapse")) if t.left_out == left_out]
    best = tests[0]
    assert best.predictor in ("weight_change", "generation_entropy", COMBINED)
    assert best.warned == 1 and best.false_alarms == 0
    # From just above what harmless sequences reach, half the way.
    assert 0.35 < best.lead <= 0.5
    by_name = {test.predictor: test for test in tests}
    assert by_name["weight_change"].threshold == pytest.approx(0.5, abs=0.05)
    assert by_name["row_energy"].lead == 0 or by_name["row_energy"].false_alarms > MOST_FALSE
    assert by_name["key_rank"].false_alarms > MOST_FALSE


def test_a_quantity_that_was_not_measured_everywhere_is_left_out(rows: pl.DataFrame) -> None:
    lacking = rows.with_columns(
        weight_change=pl.when(editor="c").then(None).otherwise(pl.col("weight_change"))
    )
    names = {test.predictor for test in ranked(streams(lacking, "collapse"))}
    assert "weight_change" not in names and "generation_entropy" in names


def test_one_editor_alone_cannot_be_left_out(rows: pl.DataFrame) -> None:
    found = ranked(streams(rows.filter(editor="a"), "collapse"))
    assert {test.left_out for test in found} <= {"model"}
