"""The absolute change of an edited matrix, reduced to a size that can be shown.

As in Figure 3 of "The Butterfly Effect of Model Editing".
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import torch
from torch.nn.functional import adaptive_max_pool2d

from editcore.errors import DataError
from editcore.planning import paths
from editcore.planning.jobs import EditJob
from editcore.records.mechanism_schemas import WEIGHTS
from editcore.records.provenance import made_by
from editcore.records.schemas import CASE_KEYS, CASES
from editcore.records.tables import Row, read_provenance, read_table, write_table
from editcore.requests import OK
from editcore.updates.delta import Delta, load_deltas

MOST_ROWS, MOST_COLUMNS = 40, 80


def run(cases: Path, jobs: Sequence[EditJob], out: Path) -> None:
    """Write the changed matrices of a collapsed edit and of a stable one, for every model.

    `cases` is the table of judged rows of the edits that `jobs` made. Raises `DataError` if a shard
    lacks a weight change.
    """
    table = read_table(cases, CASES)
    models = table["model"].unique().sort()
    shown = pl.concat([table.clear(), *(contrasted(table.filter(model=model)) for model in models)])
    about = {"made_by": made_by(), "collapse": read_provenance(cases)["collapse"]}
    write_table(out, _pictures(shown, jobs), WEIGHTS, about)


def contrasted(edits: pl.DataFrame) -> pl.DataFrame:
    """The edit with the highest perplexity that collapsed the model, and one that did not.

    The other is of the same editor, with the median ‖ΔW‖ of those that did not. Infinite
    perplexities are left out, and so is an editor whose edits all collapsed the model.
    """
    measured = edits.filter(
        pl.col("status") == OK, pl.col("perplexity").is_finite(), pl.col("delta_norm") > 0
    )
    order = ["perplexity", "editor", "dataset", "case_id"]
    worst = measured.filter(pl.col("collapsed")).sort(order, descending=[True, False, False, False])
    for editor in worst["editor"].unique(maintain_order=True):
        mild = measured.filter(pl.col("editor") == editor, ~pl.col("collapsed"))
        mild = mild.sort("delta_norm", "dataset", "case_id")
        if not mild.is_empty():
            hard = worst.filter(pl.col("editor") == editor).head(1)
            return pl.concat([hard, mild.slice(len(mild) // 2, 1)])
    return measured.clear()


def _pictures(edits: pl.DataFrame, jobs: Sequence[EditJob]) -> Iterator[Row]:
    """The pooled change of the first matrix that each of the edits changes, a row per block."""
    for edit in edits.iter_rows(named=True):
        matrices = ((n, u) for n, u in _delta(edit, jobs).updates.items() if len(u.shape) == 2)
        if (found := next(matrices, None)) is None:
            continue
        parameter, update = found
        about = {name: edit[name] for name in (*CASE_KEYS, "collapsed", "perplexity")}
        about |= {"parameter": parameter, "d_out": update.shape[0], "d_in": update.shape[1]}
        for row, values in enumerate(pooled(update.dense()).tolist()):
            for column, value in enumerate(values):
                yield about | {"row": row, "column": column, "change": value}


def _delta(edit: Row, jobs: Sequence[EditJob]) -> Delta:
    """The weight change of an edit, from the file of its shard."""
    group, case = tuple(edit[name] for name in CASE_KEYS[:3]), edit["case_id"]
    for job in jobs:
        if job.key[:3] == group and case in job.case_ids:
            file = paths.deltas(*job.key)
            if case in (found := load_deltas(file, {case})):
                return found[case]
            raise DataError(
                f"{file} lacks the weight change of case {case}; delete it and run the edits of "
                "this shard again"
            )
    raise DataError(f"no job of this study edits case {case} of {', '.join(group)}; plan it again")


def pooled(change: torch.Tensor) -> torch.Tensor:
    """The largest absolute value in each block of a matrix, in at most 40 x 80 blocks.

    >>> pooled(torch.tensor([[1.0, -3.0]]))
    tensor([[1., 3.]])
    """
    rows, columns = change.shape
    size = (min(rows, MOST_ROWS), min(columns, MOST_COLUMNS))
    return adaptive_max_pool2d(change.abs().float()[None, None], size)[0, 0]
