"""Tables made from edit rows without a model: intervals, shared properties, combined files."""

import polars as pl
import pytest

from editcore.planning.study import MECHANISM, MECHANISM_DERIVED
from editcore.records.mechanism_schemas import DERIVED, TABLES
from editcore.report.papers.published import published
from editcore.summary.mechanism import prompting, shared
from editcore.summary.mechanism.prompting import wilson
from tests.rows import edit_row, failed_row


def test_planning_knows_the_tables() -> None:
    assert tuple(TABLES) == MECHANISM
    assert tuple(DERIVED) == MECHANISM_DERIVED


@pytest.mark.parametrize("hits", [0, 3, 10])
def test_wilson_solves_its_equation(hits: int) -> None:
    for bound in wilson(hits, 10):
        spread = prompting.Z**2 * bound * (1 - bound) / 10
        assert (hits / 10 - bound) ** 2 == pytest.approx(spread, abs=1e-12)


def test_as_published_only_the_rewrite_prompt_is_prefixed() -> None:
    rows = [
        edit_row(case, efficacy=0.0, efficacy_prefixed=1.0, locality=0.5, locality_prefixed=0.25)
        for case in range(4)
    ]
    edits = pl.DataFrame([*rows, failed_row(9)], infer_schema_length=None)
    found = {(r["prefixed"], r["metric"]): r for r in prompting.rows(edits)}
    assert [found[way, "efficacy"]["share"] for way in prompting.WAYS] == [0, 1, 1]
    assert [found[way, "locality"]["share"] for way in prompting.WAYS] == [0.5, 0.5, 0.25]
    assert {row["n"] for row in found.values()} == {4}


def test_what_collapsing_cases_share_predicts_them() -> None:
    rows = [
        {
            "model": "small",
            "strategy": strategy,
            "second_moment": True,
            "subject_position": 0 if collapsed else 3,
            "subject_tokens": 1,
            "token_frequency": 0.1 * case,
            "denominator": 0.01 if collapsed else 1.0,
            "collapsed": collapsed,
        }
        for strategy in ("mixed", "prefixed")
        for case, collapsed in enumerate([True, False, True, False])
    ]
    found = {row["quantity"]: row for row in shared.rows(pl.DataFrame(rows))}
    assert found["subject_position"]["auc"] == found["denominator"]["auc"] == 1
    assert found["subject_tokens"]["auc"] == 0.5
    assert found["token_frequency"]["auc"] == 0.75
    assert (found["denominator"]["n_collapsed"], found["denominator"]["n_others"]) == (2, 2)


@pytest.mark.parametrize("name", ["updates", "perplexities", "positions", "prompting"])
def test_published_tables_are_whole_and_marked(name: str) -> None:
    table = published(name)
    assert table.caption.startswith("Published")
    assert "2406.11263" in table.caption
    assert {len(row) for row in table.rows} == {len(table.heads)}
