"""Guarded edits: weights edited in place give the numbers of edits applied from the start."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from editcore import EditRequest, read_requests
from editcore.cli import main
from editcore.config.alarm import Alarm
from editcore.datasets.bundled import data_file
from editcore.errors import RequestError
from editcore.numbers import in_percent
from editcore.runs.adhoc import guard as guarding
from editcore.runs.adhoc.setup import set_up
from editcore.runs.adhoc.trials import Trials
from editcore.runs.prepare import Choice
from editcore.updates.cumulative_delta import accumulating
from tests.studies import SMALL as STUDY
from tests.studies import write_config

GOLDEN = Path(__file__).parent / "golden" / "guard.json"


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
    choice = Choice("tiny-gpt2", "rome", {}, study)
    guarded = guarding.guard(choice, facts(), study.parent, silent, allow_damage=True)
    golden: list[dict[str, Any]] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert [row["accepted"] for row in golden] == [True, True, True, False, False]
    for row, expected in zip(guarded.rows, golden, strict=True):
        for name, value in expected.items():
            close = pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
            assert row[name] == close, (row["case_id"], name)


def test_a_damaging_edit_is_refused_with_both_numbers_unless_damage_is_allowed(
    tmp_path: Path,
) -> None:
    strict = write_config(tmp_path / "study.yaml", STUDY | {"collapse": {"damage": 1e-12}})
    choice = Choice("tiny-gpt2", "rome", {}, strict)
    refused, accepted = (
        guarding.guard(choice, facts()[:2], tmp_path, silent, allow_damage=allowed)
        for allowed in (False, True)
    )
    assert [row["grade"] for row in (*refused.rows, *accepted.rows)] == ["damaged"] * 4
    assert [row["accepted"] for row in refused.rows] == [False, False]
    assert [row["accepted"] for row in accepted.rows] == [True, True]
    reason = re.fullmatch(
        r"refused: the model would be damaged, another next token the likeliest at (\S+) % of "
        r"tokens \(the limit is 1e-10 %\), perplexity .* \(×.*\); the denominator .*",
        refused.rows[0]["status"],
    )
    assert reason
    assert f"{reason[1]} %" == in_percent(1 - refused.rows[0]["top1_kept"])
    assert ", damaged)" in guarding.page(accepted)


def test_an_edit_that_undoes_another_is_said_to_endanger_it(study: Path) -> None:
    first, other, *_ = facts()
    opposite = replace(first, case_id=7777, target_new=first.target_true)
    choice = Choice("tiny-gpt2", "rome", {}, study)
    edits = [first, other, opposite]
    guarded = guarding.guard(choice, edits, study.parent, silent, allow_damage=True)
    assert [row["accepted"] for row in guarded.rows] == [True] * 3
    assert [row["endangers"] for row in guarded.rows] == [None, None, f"[{first.case_id}]"]
    given = f"endangers: {first.text} → {first.target_new}"
    assert guarding.page(guarded).splitlines()[3].strip() == given


def test_an_accepted_edit_that_did_not_take_is_marked(study: Path) -> None:
    took, idle = (
        guarding.guard(Choice("tiny-gpt2", editor, {}, study), facts()[:1], study.parent, silent)
        for editor in ("rome", "noop")
    )
    assert (took.rows[0]["took"], idle.rows[0]["took"]) == (True, False)
    assert "without effect)" in guarding.page(idle)
    assert "without effect" not in guarding.page(took)


def test_a_model_that_will_collapse_is_warned_of(study: Path) -> None:
    choice = Choice("tiny-gpt2", "rome", {}, study)
    made = guarding.guard(choice, facts()[:1], study.parent, silent)
    assert "foretold" not in guarding.page(made)
    ruined = made.rows[0] | {"perplexity_ratio": 9.0, "kl_mean": 9.0, "top1_kept": 0.1}
    page = guarding.page(replace(made, rows=[ruined]))
    assert "warning: " in page and "a collapse is foretold" in page


def test_a_list_can_end_at_the_first_edit_that_is_refused(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = Alarm(predictor="kl_mean", threshold=float("inf"))
    monkeypatch.setattr(guarding, "shipped", lambda: never)
    choice = Choice("tiny-gpt2", "rome", {}, study)
    how = {"allow_damage": True, "stop": True}
    ended = guarding.guard(choice, facts(), study.parent, silent, **how)
    assert [row["accepted"] for row in ended.rows] == [True, True, True, False]
    said = "No further edits were tried, because the last one was refused."
    assert said in guarding.page(ended)
    whole = guarding.guard(choice, facts()[:4], study.parent, silent, **how)
    assert [row["accepted"] for row in whole.rows] == [True, True, True, False]
    assert said not in guarding.page(whole), "there are no further ones"


def test_a_list_can_end_once_harm_is_foretold(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    always = Alarm(predictor="kl_mean", threshold=0)
    monkeypatch.setattr(guarding, "shipped", lambda: always)
    command = ["guard", data_file("resources/world/normal.json"), "--limit", "3", "--stop"]
    command += ["--model", "tiny-gpt2", "--editor", "rome", "--config", str(study)]
    command += ["--cache", str(study.parent), "--out", str(study.parent / "guarded")]
    ended = CliRunner().invoke(main, command)
    assert ended.exit_code == 3
    assert "1 of 1 edits accepted.\nNo further edits were tried, because the mean" in ended.stdout
    assert "on a collapse is foretold." in ended.stdout


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


def test_a_case_of_several_facts_is_refused_before_a_model_is_loaded(study: Path) -> None:
    first, second, *_ = facts()
    case = replace(first, further=(second,))
    with pytest.raises(RequestError, match=rf"case {first.case_id} has 2 facts, which only a st"):
        guarding.guard(Choice("none", "rome", {}, study), [second, case], study.parent, silent)
