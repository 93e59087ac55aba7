"""Guarded edits: weights edited in place give the numbers of edits applied from the start."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore import EditRequest, read_requests
from editcore.datasets.bundled import data_file
from editcore.runs.adhoc import guard as guarding
from editcore.runs.adhoc.setup import set_up
from editcore.runs.adhoc.trials import Trials
from editcore.runs.prepare import Choice
from editcore.updates.cumulative_delta import accumulating
from tests.studies import write_config

GOLDEN = Path(__file__).parent / "golden" / "guard.json"
STUDY = {
    "models": {"tiny-gpt2": {}},
    "editors": {"rome": {"options": {"layer": 2, "steps": 10}}},
    "datasets": {"hard": {"path": "resources/world/hard.json"}},
    "perplexity": {"texts": 6},
    "prefixes": {"lengths": [[4, 3]]},
    "moments": {"tokens": 4000},
}


def facts() -> list[EditRequest]:
    """One fact that is safe to edit, and four of which two ruin the model."""
    files = (f"resources/world/{name}.json" for name in ("hard", "normal"))
    hard, normal = (read_requests(Path(data_file(file))) for file in files)
    return [*normal[:1], *hard[:4]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_config(tmp_path_factory.mktemp("guard") / "study.yaml", STUDY)


def silent(step: str) -> None:
    pass


def test_the_numbers_are_those_of_edits_applied_from_the_unedited_weights(study: Path) -> None:
    """The golden rows were made at commit ffd73c4, which applied the sum of all edits each time."""
    guarded = guarding.guard(Choice("tiny-gpt2", "rome", {}, study), facts(), study.parent, silent)
    golden: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert [row["accepted"] for row in golden] == [True, True, True, False, False]
    for row, expected in zip(guarded.rows, golden, strict=True):
        for name, value in expected.items():
            close = pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
            assert row[name] == close, (row["case_id"], name)


def test_a_refused_edit_leaves_every_bit_as_the_accepted_ones_made_it(study: Path) -> None:
    shard = set_up(Choice("tiny-gpt2", "rome", {}, study), facts(), study.parent, silent).shard
    model = shard.session.context.model.model
    first, second, *_ = shard.requests
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with accumulating(shard.session.context.model) as changes:
        trials = Trials(shard, changes)
        _, delta = trials.attempt(first, lambda row: "")
        assert delta is not None
        accepted = {name: weight.clone() for name, weight in model.state_dict().items()}
        row, refused = trials.attempt(second, lambda row: "no")
        assert (refused, row["status"]) == (None, "no")
        now = model.state_dict()
        assert [name for name in now if not torch.equal(now[name], accepted[name])] == []
        again, _ = trials.attempt(second, lambda row: "no")
        assert again == row, "a refused edit leaves nothing behind"
    now = model.state_dict()
    assert [name for name in now if not torch.equal(now[name], before[name])] == []
