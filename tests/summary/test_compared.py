"""Finished studies are compared case by case, and like with like."""

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from editcore.errors import DataError
from editcore.records.schemas import CASES, DOWNSTREAM, SEQUENCES_JUDGED
from editcore.records.tables import write_table
from editcore.summary.compared.comparison import Comparison, compare
from editcore.summary.compared.groups import Group
from editcore.summary.compared.paired import FEWEST, Moved, paired_mean
from editcore.summary.compared.words import as_dict, page
from tests.command_line import done, refused, run
from tests.compared import about, benchmark, changed, collapsed, finished, rows

CASE_IDS = range(8)


def compared(old: Path, new: Path, **names: str) -> Comparison:
    """The comparison of two studies."""
    (found,) = compare([old, new], names)
    return found


def group(found: Comparison, editor: str = "beta", dataset: str = "hard") -> Group:
    """One group of the model `small`."""
    (one,) = (each for each in found.groups if each.labels == ("small", editor, dataset))
    return one


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The study that others are compared with."""
    return finished(tmp_path / "old", rows())


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    """The same study, but eight hard cases of `beta` collapse."""
    return finished(tmp_path / "worse", collapsed(rows(), CASE_IDS))


def test_a_study_and_its_copy_are_equal_in_every_number(old: Path, tmp_path: Path) -> None:
    found = compared(old, Path(shutil.copytree(old, tmp_path / "copy")))
    assert found.identical
    assert found.outcome == "unchanged"
    assert "nothing moved" in found.sentence
    assert (found.settings, found.unlike) == ([], [])
    for each in found.groups:
        assert not each.moved
        assert {mean.difference for mean in each.metrics.values()} == {0.0}
        assert {(q.n, q.factor) for q in each.quantities.values()} == {(12, 1.0)}
        assert all(q.equal == q.n for q in each.quantities.values())


def test_a_planted_regression_is_found_in_its_group_alone(old: Path, worse: Path) -> None:
    found = compared(old, worse)
    assert found.sentence == (
        f"REGRESSION: {worse} is worse than {old} in 1 of 4 groups: beta on small, hard "
        "(grades: 8 worse, 0 better, p = 0.00781)."
    )
    assert {each.labels for each in found.groups if each.outcome != "unchanged"} == {
        ("small", "beta", "hard")
    }
    one = group(found)
    assert dict(one.moves) == {("sound", "collapsed"): 8, ("sound", "sound"): 4}
    assert [case.case_id for case in one.moved] == [*CASE_IDS]


def test_exchanging_the_studies_exchanges_every_sign(old: Path, tmp_path: Path) -> None:
    draw = random.Random(0)
    other = [
        {**row, "locality": draw.random(), "efficacy": draw.choice([0.0, 0.5, 1.0])}
        if row["status"] == "ok"
        else row
        for row in collapsed(rows(), CASE_IDS)
    ]
    new = finished(tmp_path / "new", other)
    there, back = compared(old, new), compared(new, old)
    flipped = {"worse": "better", "better": "worse", "unchanged": "unchanged"}
    for a, b in zip(there.groups, back.groups, strict=True):
        assert (a.grades.worse, a.grades.better) == (b.grades.better, b.grades.worse)
        assert a.grades.p_value == b.grades.p_value
        assert {name: flipped[side] for name, side in a.outcomes.items()} == b.outcomes
        for name, mean in a.metrics.items():
            mirrored = b.metrics[name]
            assert mean.difference == -(mirrored.difference or 0.0)
            assert (mean.low, mean.high) == (-(mirrored.high or 0.0), -(mirrored.low or 0.0))
        assert a.quantities["perplexity_ratio"].old == b.quantities["perplexity_ratio"].new


@pytest.mark.parametrize(
    ("locality", "outcome"),
    [(0.4, "worse"), (0.495, "unchanged"), (0.505, "unchanged"), (0.6, "better")],
)
def test_a_mean_decides_if_its_interval_excludes_zero_by_the_margin(
    old: Path, tmp_path: Path, locality: float, outcome: str
) -> None:
    new = finished(tmp_path / "new", changed(rows(), range(12), locality=locality))
    found = compared(old, new)
    assert (found.outcome, group(found).outcomes["locality"]) == (outcome, outcome)
    assert not found.identical
    assert group(found).metrics["locality"].difference == pytest.approx(locality - 0.5)


def test_few_cases_decide_nothing(tmp_path: Path) -> None:
    few = rows(FEWEST - 1)
    old = finished(tmp_path / "old", few)
    harmed = changed(collapsed(few, range(FEWEST)), range(FEWEST), locality=0.0)
    found = compared(old, finished(tmp_path / "new", harmed))
    assert found.outcome == "unchanged"
    assert "of 21 cases, 5 grades moved" in found.sentence
    assert group(found).metrics["locality"].low is None


def test_edits_that_begin_to_fail_are_a_regression_and_in_no_mean(
    old: Path, tmp_path: Path
) -> None:
    failed = dict.fromkeys(("perplexity", "perplexity_ratio", "locality", "efficacy", "top1_kept"))
    other = changed(rows(), CASE_IDS, status="no such token", **failed)
    found = compared(old, finished(tmp_path / "new", other))
    assert "failed edits: 8 worse, 0 better" in found.sentence
    assert group(found).grades == Moved(0, 0)
    assert group(found).metrics["locality"].n == 4
    assert (
        "failed edits of beta on small, hard: 0 before and 8 now, of 12 cases; no number includes "
        "them"
    ) in found.missing


def test_cases_of_one_study_are_named_and_left_out(old: Path, tmp_path: Path) -> None:
    fewer = [row for row in rows() if row["case_id"] != 3 and row["editor"] == "beta"]
    new = finished(tmp_path / "new", changed(fewer, [5], subject="Another"))
    found = compared(old, new)
    assert found.joined.only_old == {
        ("small", "alpha", "hard"): 13,
        ("small", "alpha", "normal"): 12,
        ("small", "beta", "hard"): 1,
        ("small", "beta", "normal"): 1,
    }
    assert found.joined.only_new == {}
    assert f"only in {old}, and left out: 27 cases" in found.unlike
    assert "with another fact under the same number, and left out: 1 case" in found.unlike
    assert group(found).n == 10
    assert not found.identical


def test_what_makes_numbers_incomparable_comes_first(old: Path, tmp_path: Path) -> None:
    config = {"seed": 1, "perplexity": {"path": "other.json", "texts": 30}, "sequences": {}}
    other = [{**row, "perplexity_base": 4.5, "token_count": 800} for row in rows()]
    new = finished(tmp_path / "new", other, config=config, revision="others")
    found = compared(old, new)
    assert found.unlike == [
        "model small.weights differs: weights and others",
        "perplexity on small is over other texts: their tokens differ in number",
        "the perplexity of the unedited small differs: 4 and 4.50",
    ]
    assert page([found]).startswith("NOT LIKE WITH LIKE:\n- model small.weights")
    listed = {(each.part, each.name): (each.old, each.new) for each in found.settings}
    assert listed["study", "perplexity.path"] == ("texts.json", "other.json")
    assert listed["study", "seed"] == ("0", "1")
    assert listed["study", "sequences"] == ("–", "{}")


def test_only_settings_that_differ_are_listed(old: Path, tmp_path: Path) -> None:
    editors = about()["editors"]
    made = about(
        edits={"versions": {"editcore": "1.1", "torch": "2.13"}, "code": "c0de"},
        editors=editors | {"beta": editors["beta"] | {"options": {"layer": 3, "steps": 5}}},
    )
    found = compared(old, finished(tmp_path / "new", rows(), made))
    assert {(each.in_words, each.old, each.new, each.unlike) for each in found.settings} == {
        ("versions editcore", "1.0", "1.1", False),
        ("editor beta.options.layer", "2", "3", False),
        ("editor beta.options.steps", "–", "5", False),
    }


def test_weights_that_are_not_known_are_not_said_to_differ(old: Path, tmp_path: Path) -> None:
    new = finished(tmp_path / "new", rows(), revision="others")
    shutil.rmtree(new / "edits")
    found = compared(old, new)
    assert found.unlike == []
    assert f"the weights of small are not known in {new}, so they are not compared" in found.missing


def test_both_are_judged_by_the_thresholds_of_the_first(old: Path, tmp_path: Path) -> None:
    loose = about(collapse={"perplexity": 1000.0, "ratio": 1000.0, "verdict": "ratio"})
    new = finished(tmp_path / "new", collapsed(rows(), CASE_IDS), loose)
    there, back = compared(old, new), compared(new, old)
    assert group(there).grades == Moved(8, 0)
    assert group(back).grades == Moved(0, 0)
    assert f"the thresholds of collapse differ; both are judged by those of {old}" in there.unlike


def test_a_label_of_the_first_study_is_compared_as_another(old: Path, tmp_path: Path) -> None:
    renamed = [{**row, "editor": "gamma"} for row in rows() if row["editor"] == "beta"]
    new = finished(tmp_path / "new", renamed, about(editors={"gamma": about()["editors"]["beta"]}))
    found = compared(old, new, beta="gamma")
    assert {each.labels[1] for each in found.groups} == {"gamma"}
    assert found.settings == []
    assert not any(each.moved for each in found.groups)
    for names, error in (
        ({"bta": "gamma"}, "has no label 'bta'. Did you mean 'beta'?"),
        ({"beta": "gama"}, "no other study has the editor 'gama'. Did you mean 'gamma'?"),
        ({"beta": "alpha"}, "has both 'beta' and 'alpha'"),
    ):
        with pytest.raises(DataError, match=error.replace("?", r"\?")):
            compare([old, new], names)


def test_older_tables_are_read_and_named(old: Path, tmp_path: Path) -> None:
    new = finished(tmp_path / "new", rows())
    path = new / "summary" / "cases.parquet"
    table = pl.read_parquet(path).drop("exposure", "grade")
    old_schema = CASES
    for name in ("exposure", "grade"):
        old_schema = old_schema.remove(old_schema.get_field_index(name))
    old_schema = old_schema.with_metadata({**CASES.metadata, b"editcore.schema": b"cases/3"})
    write_table(path, table, old_schema, about())
    steps = [sequence_step(0), sequence_step(1)]
    foreign = SEQUENCES_JUDGED.with_metadata(
        {**SEQUENCES_JUDGED.metadata, b"editcore.schema": b"sequences-judged/1"}
    )
    write_table(new / "summary" / "sequences.parquet", steps, foreign, {})
    found = compared(old, new)
    assert f"the cases of {new} are of an older version, cases/3" in found.missing
    assert any("another version, sequences-judged/1" in each for each in found.missing)
    assert group(found).grades == Moved(0, 0)
    assert dict(group(found).moves) == {("sound", "sound"): 12}


def sequence_step(step: int, ratio: float = 1.0, order: int = 0) -> dict[str, Any]:
    """A step of a sequence of `beta`'s hard edits."""
    where = {"model": "small", "editor": "beta", "dataset": "hard"}
    place = {"batch": 1, "order": order, "arrangement": "drawn", "step": step, "edits": step}
    harm = {"perplexity": 4 * ratio, "perplexity_base": 4.0, "perplexity_ratio": ratio}
    return {**where, **place, **harm, "status": "ok", "top1_kept": 1.0, "efficacy_so_far": 0.5}


def score(task: str, value: float, case: int | None) -> dict[str, Any]:
    """A score of the unedited model, or of one that `beta` edited."""
    edit = {"editor": "beta", "dataset": "hard"} if case is not None else {}
    of = {"model": "small", "editor": None, "dataset": None, "case_id": case, "task": task}
    more = {"metric": "acc", "status": "ok", "random": 0.5, "n_items": 10}
    return of | edit | more | {"score": value}


def test_sequences_tasks_and_costs_are_matched(old: Path, worse: Path) -> None:
    calm = [sequence_step(step) for step in range(4)]
    harmed = [sequence_step(step, 1.0 if step < 2 else 100.0) for step in range(4)]
    for folder, steps, lost in ((old, calm, 0.0), (worse, harmed, 0.3)):
        summary = folder / "summary"
        write_table(summary / "sequences.parquet", steps, SEQUENCES_JUDGED, {})
        last = 7 if lost else 9
        scores = [score("cloze", 0.9, None), *(score("cloze", 0.8 - lost, n) for n in range(last))]
        write_table(summary / "downstream.parquet", scores, DOWNSTREAM, {})
    benchmark(old, "edits", 10.0, 500.0)
    benchmark(worse, "edits", 30.0, 600.0)
    (worse / "benchmarks" / "killed.json").write_text("")
    found = compared(old, worse)
    (pair,) = found.sequences
    assert (pair.old.collapse, pair.new.collapse) == (None, 2)
    assert (pair.old.grade, pair.new.grade) == ("sound", "collapsed")
    (task,) = found.tasks
    assert (task.unedited_old, task.unedited_new, task.edited.n) == (0.9, 0.9, 7)
    assert task.edited.difference == pytest.approx(-0.3)
    shown = page([found])
    assert f"- only in {old}: task scores of 2 edited models; " in shown
    assert "– → 2" in shown
    assert "| edits | 1 → 1 | 10 s → 30 s | ×3 " in shown
    assert "killed.json contains no whole record of what a job used" in shown
    (worse / "summary" / "sequences.parquet").unlink()
    assert f"only {old} has sequences" in compared(old, worse).missing


def test_several_studies_are_each_compared_with_the_first(
    old: Path, worse: Path, tmp_path: Path
) -> None:
    better = finished(tmp_path / "better", changed(rows(), range(12), efficacy=0.9))
    found = compare([old, worse, better], {})
    assert [each.outcome for each in found] == ["worse", "better"]
    (line,) = (line for line in page(found).splitlines() if line.startswith("| small | beta ") and
               "REGRESSION" in line and "IMPROVED" in line)  # fmt: skip
    assert "hard" in line


@pytest.mark.parametrize("size", [6, 50, 400])
def test_the_interval_is_that_of_a_mean(size: int) -> None:
    draw = random.Random(size)
    old = [draw.gauss(0, 1) for _ in range(size)]
    new = [value + draw.gauss(0.2, 0.5) for value in old]
    found = paired_mean(old, new)
    differences = pl.Series([b - a for a, b in zip(old, new, strict=True)])
    deviation, mean = differences.std(ddof=0), differences.mean()
    assert isinstance(deviation, float)
    assert isinstance(mean, float)
    expected = 1.96 * deviation / math.sqrt(size)
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.1)
    assert found.low < mean < found.high
    # Adding the same to both sides changes no difference.
    shifted = paired_mean([value + 1 for value in old], [value + 1 for value in new])
    assert (shifted.low, shifted.high) == pytest.approx((found.low, found.high))


def test_a_symmetric_set_of_differences_has_a_symmetric_interval() -> None:
    found = paired_mean([0.0] * 8, [1.0] * 4 + [-1.0] * 4)
    assert found.low is not None
    assert found.low == -(found.high or 0.0) < 0


def test_the_sign_test_is_exact() -> None:
    # 2 · (1 + 8) / 2⁸
    assert Moved(7, 1).p_value == pytest.approx(18 / 256)
    assert Moved(8, 1).outcome == "worse"
    assert Moved(1, 8).outcome == "better"
    assert Moved(7, 1).outcome == "unchanged"


def test_the_command_prints_words_and_json_and_ends_with_its_status(
    old: Path, worse: Path, tmp_path: Path
) -> None:
    out = tmp_path / "page.html"
    words = done("compare", old, worse, "--out", out)
    assert words.startswith(f"REGRESSION: {worse} is worse than {old} in 1 of 4 groups")
    assert "Word0" in words
    assert "REGRESSION" in out.read_text(encoding="utf-8")
    (found,) = json.loads(done("compare", old, worse, "--json"))
    assert found["outcome"] == "REGRESSION"
    assert found == json.loads(json.dumps(as_dict(compared(old, worse))))
    assert run("compare", old, worse, "--fail-on-regression").exit_code == 3
    assert run("compare", worse, old, "--fail-on-regression").exit_code == 0
    assert done("compare", worse, old).startswith("IMPROVED: ")
    assert "no other study has the editor" in refused("compare", old, worse, "--as", "beta=mine")


def test_studies_that_cannot_be_compared_are_refused(old: Path, tmp_path: Path) -> None:
    other = finished(tmp_path / "other", [{**row, "model": "large"} for row in rows()])
    assert "have no case in common" in refused("compare", old, other)
    assert "no finished study" in refused("compare", old, tmp_path)
    assert "no finished study" in refused("compare", old, tmp_path / "none")
    assert "is the same folder as" in refused("compare", old, tmp_path / "other" / ".." / "old")
    assert "two studies or more" in refused("compare", old)
    assert "write the first study's label" in refused("compare", old, other, "--as", "beta")
    (other / "jobs" / "study.json").write_text("{")
    assert "study manifest" in refused("compare", old, other)
