"""Edited models are chosen from the whole range of perplexity, and the worst as well."""

import math

import polars as pl

from editcore.planning.stages.jobs import DownstreamJob
from editcore.summary.task_choice import selected
from tests.rows import BASE, edit_row, failed_row


def job(count: int, top: int, up_to: float | None = None, drawn: int = 0) -> DownstreamJob:
    return DownstreamJob.model_construct(count=count, top=top, up_to=up_to, drawn=drawn, seed=0)


def chosen(perplexities: list[float], *how: float | None) -> pl.DataFrame:
    rows = [edit_row(i, perplexity) for i, perplexity in enumerate(perplexities)]
    rows.append({**edit_row(999), **failed_row(999), "perplexity": None})
    return selected(pl.DataFrame(rows, infer_schema_length=None), job(*how))


def test_the_middle_of_the_range_is_chosen_though_nearly_all_edits_are_mild() -> None:
    mild, between = [4.0 + i / 1000 for i in range(500)], [40.0, 400.0, 4000.0, 40000.0]
    frame = chosen(mild + between, 5, 0)
    assert frame.filter(pl.col("spread"))["perplexity"].to_list() == [4.0, *between]


def test_the_range_ends_at_a_multiple_of_the_unedited_model_but_the_worst_count() -> None:
    frame = chosen([BASE, 2 * BASE, 20 * BASE, 21 * BASE, math.inf], 5, 1, 20)
    assert frame.filter(pl.col("spread"))["case_id"].to_list() == [0, 1, 2]
    assert frame.filter(pl.col("top"))["case_id"].to_list() == [4]


def test_each_edit_is_chosen_once_and_no_more_than_there_are() -> None:
    frame = chosen([4.0, 4.0, 4.0, 4000.0], 30, 2)
    assert frame["case_id"].to_list() == [0, 1, 2, 3]
    assert frame["spread"].all()
    assert frame.filter(pl.col("top"))["case_id"].to_list() == [0, 3]


def test_infinite_perplexity_counts_among_the_worst_only() -> None:
    frame = chosen([4.0, math.inf, 40.0, 400.0], 2, 2)
    assert frame.filter(pl.col("spread"))["case_id"].to_list() == [0, 3]
    assert frame.filter(pl.col("top"))["case_id"].to_list() == [1, 3]


def test_a_choice_does_not_depend_on_the_order_of_rows() -> None:
    rows = [edit_row(i, 4.0 + i % 7) for i in range(40)]
    forward, backward = (selected(pl.DataFrame(r), job(5, 3, None, 4)) for r in (rows, rows[::-1]))
    assert forward["case_id"].to_list() == backward["case_id"].to_list()


def test_without_edits_nothing_is_chosen() -> None:
    assert chosen([], 3, 2).is_empty()


def test_some_are_drawn_whatever_their_perplexity() -> None:
    frame = chosen([4.0] * 50 + [math.inf] * 50, 1, 0, None, 20)
    others = frame.filter(~pl.col("spread"), ~pl.col("top"))
    assert 19 <= len(others) <= 20
    assert 2 < others["perplexity"].is_infinite().sum() < 18
