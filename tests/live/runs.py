"""A run of the workflow in the middle, for the tests of what is shown of it."""

from pathlib import Path

import polars as pl

from editcore.live.run_state import RunningJob, RunState

PLANNED = {"prefixes": 1, "edit": 4, "report": 1}


def job(rule: str, title: str, started: float, **files: tuple[str, ...]) -> RunningJob:
    return RunningJob(rule, title, started, **files)


def in_the_middle() -> RunState:
    """At second 30, prefixes and one shard are done (20 s and 6 s), and two shards run."""
    state = RunState(started=0.0, planned=dict(PLANNED), at_once=2)
    state.start(1, job("prefixes", "Sample context prefixes from tiny", 0.0))
    state.finish(1, 20.0)
    for number, started in ((2, 20.0), (3, 20.0), (4, 26.0)):
        title = f"Edit tiny with rome on facts, shard 00{number}"
        state.start(number, job("edit", title, started))
    state.finish(2, 26.0)
    return state


def table(folder: Path, kind: str, editor: str, perplexities: list[float | None]) -> Path:
    """A table of edits or of a sequence, with the columns that are read while a study runs."""
    path = folder / f"results/{kind}/model=tiny/editor={editor}/dataset=facts/shard-000.parquet"
    path.parent.mkdir(parents=True)
    status = ["ok" if p is not None else "no target" for p in perplexities]
    columns = {"status": status, "perplexity": perplexities, "perplexity_base": 10.0, "extra": 1}
    pl.DataFrame(columns, schema_overrides={"perplexity": pl.Float64}).write_parquet(path)
    return path.relative_to(folder)
