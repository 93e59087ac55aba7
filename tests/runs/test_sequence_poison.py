# ruff: noqa: F401, F811  `job` and `folder` are fixtures of those files
"""A fact of a sequence that cannot be edited or asked has a reason, and no other fact changes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from editcore_ft.editor import FtEditor
from polars.testing import assert_frame_equal

from editcore import EditResult
from editcore.config.study import SequenceSection
from editcore.planning import paths
from editcore.planning.jobs import DatasetSpec, SequenceJob
from editcore.planning.planner import plan
from editcore.runs import artefacts
from tests.runs.test_poison import EDITORS, SOUND, folder, study
from tests.runs.test_sequence import CLOCK, edited_by, job, run
from tests.studies import record, write_json

# What is wrong with one fact, and a part of the reason in its row.
POISONS = {
    "a paraphrase too long": ({"rephrase_prompt": "the sea is quiet " * 80}, "positions"),
    "an empty paraphrase": ({"rephrase_prompt": ["Poison", ""]}, "paraphrase 2 is empty"),
    "no subject": ({"prompt": "no subject here"}, "needs one '{}'"),
}
NUMBERS = ("step", "edits", "failed", *CLOCK)


def poisoned(job: SequenceJob, poison: Any, place: int, **changes: Any) -> SequenceJob:
    """The sequence with one more fact at a place."""
    path = Path(job.dataset.path)
    facts = json.loads(path.read_text())
    fact = record(99, "Poison") | poison
    more = write_json(path.with_stem("more"), [*facts, fact])
    spec = DatasetSpec(name="cases", path=str(more))
    cases = (*job.case_ids[:place], 99, *job.case_ids[place:])
    return job.model_copy(update={"dataset": spec, "case_ids": cases, **changes})


@pytest.mark.parametrize("name", POISONS)
@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_poisoned_fact_has_a_reason_and_changes_no_other(
    job: SequenceJob, tmp_path: Path, name: str, place: int
) -> None:
    """Bit by bit: each step edits one fact, so no batch differs."""
    poison, reason = POISONS[name]
    job = job.model_copy(update={"checks": (1, 2, 3, 4, 5, 6, 7)})
    rows = run(poisoned(job, poison, place), tmp_path / "with")
    alone = run(job, tmp_path / "without")
    own = rows.row(place + 1, named=True)
    assert own["case_id"] == 99 and not own["made"]
    assert reason in own["status"]
    assert json.loads(own["failed"]) == {"99": own["status"]}
    others = rows.filter(pl.col("case_id").is_null() | (pl.col("case_id") != 99))
    assert others["failed"].null_count() == 7
    assert_frame_equal(others.drop(NUMBERS), alone.drop(NUMBERS), check_exact=True)
    assert rows["efficacy_so_far_n"][-1] == rows["locality_n"][-1] == 6


@pytest.mark.parametrize("name", POISONS)
def test_the_other_facts_of_a_step_are_edited_without_a_poisoned_one(
    job: SequenceJob, tmp_path: Path, name: str
) -> None:
    poison, reason = POISONS[name]
    job = edited_by(job, "ft", case_ids=(12, 10), batch=2, checks=(1,))
    rows = run(poisoned(job, poison, 1, batch=3), tmp_path / "with")
    alone = run(job, tmp_path / "without")
    ((case, why),) = json.loads(rows["failed"][1]).items()
    assert case == "99"
    assert reason in why
    assert rows["status"].to_list() == alone["status"].to_list() == ["ok", "ok"]
    assert_frame_equal(rows.drop(NUMBERS), alone.drop(NUMBERS), check_exact=True)
    assert rows["efficacy_so_far_n"][1] == 2


def test_facts_that_only_the_editor_refuses_are_found_one_by_one(
    job: SequenceJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = FtEditor.edit

    def refusing(self: Any, context: Any, requests: Any, state: Any = None) -> EditResult:
        if any(request.case_id == 10 for request in requests):
            raise IndexError("not this one")
        return edit(self, context, requests, state)

    monkeypatch.setattr(FtEditor, "edit", refusing)
    rows = run(edited_by(job, "ft", case_ids=(12, 10, 15), batch=3), tmp_path / "with")
    alone = run(edited_by(job, "ft", case_ids=(12, 15), batch=2), tmp_path / "without")
    assert json.loads(rows["failed"][1]) == {"10": "IndexError: not this one"}
    assert_frame_equal(rows.drop(NUMBERS), alone.drop(NUMBERS), check_exact=True)


# By case, the kinds of poison as facts of one file.
POISONED = {90 + n: POISONS[name] for n, name in enumerate(POISONS)}
FACTS = [*SOUND, *(record(case, "Poison") | poison for case, (poison, _) in POISONED.items())]
SOUND_CASES = tuple(fact["case_id"] for fact in SOUND)


@pytest.fixture(scope="module")
def jobs(folder: Path) -> Mapping[str, SequenceJob]:
    """A sequence of the sound facts by every editor, with its artefacts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        section = SequenceSection(edits=1, every=1, checks=(1,))
        config = study(folder, FACTS, EDITORS).model_copy(update={"sequences": section})
        planned = plan(config, "study")
        for model, prefix_job in planned.prefixes.items():
            artefacts.write_prefixes(prefix_job, paths.prefixes(model))
        for (model, digest), moment_job in planned.moments.items():
            artefacts.write_moments(moment_job, paths.moments(model, digest))
    changes = {"case_ids": SOUND_CASES, "values": (), "stop_rule": None, "checks": (1, 2, 3, 4)}
    return {j.editor.label: j.model_copy(update=changes) for j in planned.sequences.values()}


@pytest.mark.parametrize("editor", ["ft", "memit", "mend", "noop"])
@pytest.mark.parametrize("batch", [1, 4])
def test_no_editor_lets_a_poisoned_fact_at_any_place_change_another(
    folder: Path,
    jobs: Mapping[str, SequenceJob],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    editor: str,
    batch: int,
) -> None:
    """In steps of one fact, and with all facts in one step."""
    monkeypatch.chdir(folder)
    job = jobs[editor].model_copy(update={"batch": batch})
    alone = run(job, tmp_path / "without")
    assert set(alone["status"]) == {"ok"}
    for place in range(len(SOUND) + 1):
        case, (_, reason) = list(POISONED.items())[place % len(POISONED)]
        cases = (*SOUND_CASES[:place], case, *SOUND_CASES[place:])
        rows = run(job.model_copy(update={"case_ids": cases}), tmp_path / f"{place}")
        ((failed, why),) = json.loads(rows["failed"].drop_nulls().item()).items()
        assert failed == str(case)
        assert reason in why
        made = rows.filter(pl.col("case_id").is_null() | pl.col("made"))
        # The first case of a step is its own, and that may be the poisoned one.
        unlike = (*NUMBERS, "case_id") if batch > 1 else NUMBERS
        assert_frame_equal(made.drop(unlike), alone.drop(unlike), check_exact=True)
