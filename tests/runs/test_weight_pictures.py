"""A collapsed edit's matrix is shown next to a stable one's, in blocks that keep large numbers."""

from pathlib import Path

import pytest
import torch

from editcore.errors import DataError
from editcore.planning import paths
from editcore.planning.jobs import DatasetSpec, EditJob, EditorSpec, ModelSpec, PerplexitySpec
from editcore.records.mechanism_schemas import WEIGHTS
from editcore.records.schemas import CASES
from editcore.records.tables import read_table, write_table
from editcore.runs.weight_pictures import contrasted, pooled, run
from editcore.updates.delta import Delta, DenseUpdate, save_deltas
from tests.rows import edit_row, judged_rows

PARAMETER = "transformer.h.2.mlp.c_proj.weight"
CASES_FILE = Path("cases.parquet")
# Size of the change and the perplexity that the row reports, by case.
EDITED = {1: (0.01, 1.7), 2: (0.3, 4.0), 3: (3.0, 400.0)}


def matrix(case: int) -> torch.Tensor:
    """The change that a case makes."""
    return EDITED[case][0] * torch.randn(160, 640, generator=torch.Generator().manual_seed(case))


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[EditJob]:
    """Two finished shards, and the judged rows of both."""
    monkeypatch.chdir(tmp_path)
    made = []
    for shard, cases in enumerate(((1, 3), (2,))):
        job = EditJob(
            model=ModelSpec(name="small", source="nowhere"),
            editor=EditorSpec(label="alpha", uses="alpha"),
            seed=0,
            dataset=DatasetSpec(name="hard", path="nowhere"),
            shard=shard,
            case_ids=cases,
            perplexity=PerplexitySpec(path="resources/world/perplexity.json", texts=50),
            metrics=(),
        )
        deltas = {case: Delta({PARAMETER: DenseUpdate(matrix(case))}) for case in cases}
        save_deltas(deltas, paths.deltas(*job.key), {})
        made.append(job)
    rows = [edit_row(case, p, delta_norm=0.1 + size) for case, (size, p) in EDITED.items()]
    write_table(CASES_FILE, judged_rows(rows), CASES, {"collapse": {"ratio": 10.0}})
    return made


def test_a_collapsed_matrix_is_shown_next_to_a_stable_one(jobs: list[EditJob]) -> None:
    run(CASES_FILE, jobs, Path("pictures.parquet"))
    weights = read_table(Path("pictures.parquet"), WEIGHTS)
    assert weights.select("case_id", "collapsed").unique().sort("case_id").rows() == [
        (2, False), (3, True),
    ]  # fmt: skip
    assert (weights["row"].max(), weights["column"].max()) == (39, 79)
    largest = weights.filter(case_id=3)["change"].max()
    assert largest == pytest.approx(float(matrix(3).abs().max()), rel=1e-5)


def test_a_table_without_edits_gives_one_without_pictures(jobs: list[EditJob]) -> None:
    write_table(CASES_FILE, [], CASES, {"collapse": {"ratio": 10.0}})
    run(CASES_FILE, jobs, Path("pictures.parquet"))
    assert read_table(Path("pictures.parquet"), WEIGHTS).is_empty()


def test_a_weight_change_that_is_missing_is_named(jobs: list[EditJob]) -> None:
    save_deltas({}, paths.deltas(*jobs[0].key), {})
    with pytest.raises(DataError, match="lacks the weight change of case 3"):
        run(CASES_FILE, jobs, Path("pictures.parquet"))
    with pytest.raises(DataError, match="no job of this study edits case 3"):
        run(CASES_FILE, jobs[1:], Path("pictures.parquet"))


def test_blocks_keep_their_largest_number() -> None:
    whole = torch.randn(81, 160)
    found = pooled(whole)
    assert found.shape == (40, 80)
    assert found.max() == whole.abs().max()
    assert pooled(torch.tensor([[2.0, -5.0]])).tolist() == [[2.0, 5.0]]


def test_an_editor_whose_edits_all_had_one_outcome_shows_no_contrast() -> None:
    rows = [edit_row(i, 400.0) for i in range(3)]
    assert contrasted(judged_rows(rows)).is_empty()
    assert len(contrasted(judged_rows([*rows, edit_row(9)]))) == 2
