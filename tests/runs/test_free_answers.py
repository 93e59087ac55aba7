"""Free answers of a shard: those of each edited model alone, scored, and stored."""

from pathlib import Path

import polars as pl
import pytest

from editcore import EditContext, Editor, EditResult
from editcore.config.answers import AnswersSection
from editcore.errors import ConfigError, ModelError
from editcore.evaluation.generation import continuations
from editcore.evaluation.qa_overlap import contains, exact_match, f1
from editcore.models.loading import load_model
from editcore.planning.jobs import EditJob
from editcore.records.answer_schemas import ANSWERS, ANSWERS_SUMMARY
from editcore.records.tables import read_edits, read_table
from editcore.runs import edit
from editcore.summary.answers import write_answers
from editcore.updates.delta import load_deltas
from tests.runs.conftest import Patches, Script, ScriptedConfig, Sound, change_of

TOKENS = 5


@pytest.fixture
def asking(job: EditJob) -> EditJob:
    """The job of the other tests, with questions."""
    return job.model_copy(update={"answers": AnswersSection(tokens=TOKENS, stops=("e",))})


def run(job: EditJob, folder: Path) -> pl.DataFrame:
    files = (folder / name for name in ("rows.parquet", "deltas.safetensors", "answers.parquet"))
    edit.run(job, *files)
    return read_table(folder / "answers.parquet", ANSWERS)


def test_each_answer_is_that_of_the_edited_model_alone(
    script: Script, asking: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    answers = run(asking, tmp_path)
    changes = load_deltas(tmp_path / "deltas.safetensors")
    assert set(answers["case_id"]) == set(changes)
    assert set(answers["context"]) == {"bare", "instruction"}
    assert {"efficacy", "locality"} <= set(answers["measure"])
    model = load_model("tiny", asking.model.source)
    for row in answers.iter_rows(named=True):
        (before,) = continuations(model, [row["prompt"]], TOKENS, ("e",))
        with changes[row["case_id"]].applied(model.model):
            (after,) = continuations(model, [row["prompt"]], TOKENS, ("e",))
        assert (row["answer_base"], row["answer"]) == (before.strip(), after.strip())
        assert row["unchanged"] is (before.strip() == after.strip())
        for name, score in (("exact_match", exact_match), ("f1", f1), ("contains", contains)):
            assert row[name] == score(row["answer"], row["accepted"])
            assert row[f"{name}_base"] == score(row["answer_base"], row["accepted"])
    assert not answers["unchanged"].all()
    alone = run(asking.model_copy(update={"case_ids": (1,)}), tmp_path)
    same = answers.filter(case_id=1)
    assert alone.drop("seconds").equals(same.drop("seconds"))


def test_only_models_that_the_job_names_are_asked(
    script: Script, asking: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    every = run(asking, tmp_path)
    some = run(asking.model_copy(update={"asked": (1,)}), tmp_path)
    assert set(every["case_id"]) == set(asking.case_ids) > {1}
    assert some.drop("seconds").equals(every.filter(case_id=1).drop("seconds"))
    assert read_edits([tmp_path / "rows.parquet"])["case_id"].to_list() == [*asking.case_ids]
    assert run(asking.model_copy(update={"asked": ()}), tmp_path).is_empty()


def test_patches_answer_too(script: Script, asking: EditJob, tmp_path: Path) -> None:
    script(Patches, changes_weights=False)
    answers = run(asking, tmp_path)
    rows = read_edits([tmp_path / "rows.parquet"])
    assert set(answers["case_id"]) == set(rows.filter(status="ok")["case_id"])
    assert not answers["unchanged"].all()


class Failing(Editor[ScriptedConfig]):
    """Its second case cannot be edited."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        case = requests[0].case_id
        if case == 1:
            return EditResult(None, "not this one")
        return EditResult(change_of(context, case))


def test_a_failed_edit_is_not_asked(script: Script, asking: EditJob, tmp_path: Path) -> None:
    script(Failing)
    answers = run(asking, tmp_path)
    assert 1 in asking.case_ids
    assert set(answers["case_id"]) == set(asking.case_ids) - {1}


def test_a_model_that_cannot_be_asked_is_a_status(
    script: Script, asking: EditJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(Sound)
    true = edit.FreeAnswers._rows

    def broken(self, edits):
        if any(request.case_id == 1 for request, _ in edits):
            raise RuntimeError("it does not speak")
        return true(self, edits)

    monkeypatch.setattr(edit.FreeAnswers, "_rows", broken)
    answers = run(asking, tmp_path)
    rows = read_edits([tmp_path / "rows.parquet"])
    reasons = rows.filter(pl.col("status") != "ok")
    assert reasons["case_id"].to_list() == [1]
    assert reasons["status"].to_list() == ["free answers: RuntimeError: it does not speak"]
    assert set(answers["case_id"]) == set(asking.case_ids) - {1}


def test_the_file_and_the_question_belong_together(
    scripted, job: EditJob, asking: EditJob, tmp_path: Path
) -> None:
    files = tmp_path / "rows.parquet", tmp_path / "deltas.safetensors"
    with pytest.raises(ConfigError, match="name their file with --answers"):
        edit.run(asking, *files)
    with pytest.raises(ConfigError, match="leave --answers out"):
        edit.run(job, *files, tmp_path / "answers.parquet")


def test_a_model_without_a_chat_template_is_not_asked_in_a_chat(
    scripted, job: EditJob, tmp_path: Path
) -> None:
    chat = job.model_copy(update={"answers": AnswersSection(contexts=("chat",))})
    with pytest.raises(ModelError, match="has no chat template"):
        run(chat, tmp_path)


def test_the_summary_has_the_means_of_all_answers(
    script: Script, asking: EditJob, tmp_path: Path
) -> None:
    script(Sound)
    answers = run(asking, tmp_path)
    file, summary = tmp_path / "answers.parquet", tmp_path / "summary"
    write_answers([file], summary, {file: asking})
    scores = read_table(summary / "answers.parquet", ANSWERS_SUMMARY)
    for row in scores.iter_rows(named=True):
        own = answers.filter(measure=row["measure"], context=row["context"])
        assert row["n"] == len(own)
        assert row["n_cases"] == own["case_id"].n_unique()
        assert row["unchanged"] == pytest.approx(own["unchanged"].mean())
        best = own.group_by("case_id").agg(pl.col("exact_match").max())
        assert row["exact_match_any"] == pytest.approx(best["exact_match"].mean())
    assert scores["n"].sum() == len(answers)
