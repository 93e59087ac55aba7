"""Which edited models do tasks."""

import random

import polars as pl

from editcore.planning.stages.jobs import DownstreamJob
from editcore.records.schemas import CASE_KEYS
from editcore.requests import OK


def selected(edits: pl.DataFrame, job: DownstreamJob) -> pl.DataFrame:
    """The edits that a job chooses, with the columns `spread` and `top` for two of the reasons.

    `spread` are `count` edits at even steps of log perplexity from the least to the greatest finite
    one, for each step the nearest that is not yet chosen, among those whose perplexity is at most
    `up_to` times the unedited model's; `top` are those with the highest perplexity, infinite ones
    included; `drawn` more are drawn at random. Ties are broken by model, editor, data set and case.
    """
    measured = edits.filter(pl.col("status") == OK, pl.col("perplexity").is_not_null())
    measured = measured.sort(CASE_KEYS).with_row_index("place")
    spread = _spread(_within(measured, job.up_to), job.count)
    worst = measured.sort(["perplexity", "place"], descending=[True, False])["place"].head(job.top)
    places = range(len(measured))
    drawn = random.Random(job.seed).sample(places, min(job.drawn, len(measured)))
    return measured.with_columns(
        spread=pl.col("place").is_in(spread), top=pl.col("place").is_in(worst.to_list())
    ).filter(pl.col("spread") | pl.col("top") | pl.col("place").is_in(drawn))


def _within(edits: pl.DataFrame, up_to: float | None) -> pl.DataFrame:
    finite = edits.filter(pl.col("perplexity").is_finite())
    return finite if up_to is None else finite.filter(pl.col("perplexity_ratio") <= up_to)


def _spread(edits: pl.DataFrame, count: int) -> list[int]:
    if edits.is_empty():
        return []
    heights = dict(zip(edits["place"], edits["perplexity"].log(), strict=True))
    low, high = min(heights.values()), max(heights.values())
    chosen: list[int] = []
    for step in range(min(count, len(heights))):
        target = low + (high - low) * step / max(1, count - 1)
        nearest = min(heights, key=lambda place: (abs(heights[place] - target), place))
        del heights[nearest]
        chosen.append(nearest)
    return chosen
