# ruff: noqa: F401, F811  `job` and `folder` are fixtures of those files
"""A fact of a sequence that cannot be edited or asked has a reason, and no other fact changes."""

import json
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from editcore_ft.editor import FtEditor
from polars.testing import assert_frame_equal

from editcore import EditResult
from editcore.config.stages import SequenceSection
from editcore.planning import paths
from editcore.planning.jobs import SequenceJob
from editcore.planning.planner import plan
from editcore.runs import artefacts
from tests.runs.test_poison import EDITORS, SOUND, folder, study
from tests.runs.test_sequence import CLOCK, edited_by, job, run
from tests.studies import record

# What is wrong with one fact, and a part of the reason in its row.
POISONS = {
    "a paraphrase too long": ({"rephrase_prompt": "the sea is quiet " * 80}, "positions"),
    "an empty paraphrase": ({"rephrase_prompt": ["Poison", ""]}, "paraphrase 2 is empty"),
    "no subject": ({"prompt": "no subject here"}, "needs one '{}'"),
}
NUMBERS = ("step", "edits", "failed", *CLOCK)
# By case, the kinds of poison as facts of one file.
POISONED = {90 + n: POISONS[name] for n, name in enumerate(POISONS)}
FACTS = [*SOUND, *(record(case, "Poison") | poison for case, (poison, _) in POISONED.items())]
SOUND_CASES = tuple(fact["case_id"] for fact in SOUND)
PLACES = range(len(SOUND) + 1)
# Steps of one fact, and of all facts for the editors that take several.
STEPS = [("rome", 1), *product(("ft", "memit", "mend", "noop"), (1, len(PLACES)))]


@pytest.fixture(scope="module")
def jobs(folder: Path) -> Mapping[str, SequenceJob]:
    """A sequence of the sound facts by every editor, with its artefacts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        section = SequenceSection(edits=1, every=1, checks=tuple(step + 1 for step in PLACES))
        config = study(folder, FACTS, EDITORS).model_copy(update={"sequences": section})
        planned = plan(config, "study")
        for model, prefix_job in planned.prefixes.items():
            artefacts.write_prefixes(prefix_job, paths.prefixes(model))
        for (model, digest), moment_job in planned.moments.items():
            artefacts.write_moments(moment_job, paths.moments(model, digest))
    changes = {"case_ids": SOUND_CASES, "values": (), "stop_rule": None}
    return {j.editor.label: j.model_copy(update=changes) for j in planned.sequences.values()}


@pytest.mark.parametrize(("editor", "batch"), STEPS)
def test_a_poisoned_fact_at_any_place_has_a_reason_and_changes_no_other(
    folder: Path,
    jobs: Mapping[str, SequenceJob],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    editor: str,
    batch: int,
) -> None:
    """Bit by bit: the poisoned fact takes part in no batch."""
    monkeypatch.chdir(folder)
    job = jobs[editor].model_copy(update={"batch": batch})
    alone = run(job, tmp_path / "without")
    assert set(alone["status"]) == {"ok"}
    # Over the editors and steps, every kind is at every place.
    first = STEPS.index((editor, batch))
    for place in PLACES:
        case, (_, reason) = list(POISONED.items())[(first + place) % len(POISONED)]
        cases = (*SOUND_CASES[:place], case, *SOUND_CASES[place:])
        rows = run(job.model_copy(update={"case_ids": cases}), tmp_path / f"{place}")
        ((failed, why),) = json.loads(rows["failed"].drop_nulls().item()).items()
        assert failed == str(case)
        assert reason in why
        if batch == 1:
            own = rows.row(place + 1, named=True)
            assert (own["case_id"], own["made"], own["status"]) == (case, False, why)
        made = rows.filter(pl.col("case_id").is_null() | pl.col("made"))
        # The first case of a step is its own, and that may be the poisoned one.
        unlike = (*NUMBERS, "case_id") if batch > 1 else NUMBERS
        assert_frame_equal(_of_sound(made, unlike), _of_sound(alone, unlike), check_exact=True)
        assert rows["efficacy_so_far_n"][-1] == rows["locality_n"][-1] == len(SOUND)


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
    alone = run(edited_by(job, "ft", case_ids=(12, 15), batch=3), tmp_path / "without")
    assert json.loads(rows["failed"][1]) == {"10": "IndexError: not this one"}
    assert_frame_equal(_of_sound(rows, NUMBERS), _of_sound(alone, NUMBERS), check_exact=True)


def _of_sound(rows: pl.DataFrame, unlike: Collection[str]) -> pl.DataFrame:
    """The rows without some columns, and without the facts that were not edited."""
    known = pl.col("efficacy_by_fact").str.replace_all("null, ", "").str.replace(", null", "")
    return rows.drop(unlike).with_columns(known)
