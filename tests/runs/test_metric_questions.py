"""A metric's own questions are asked in a shard's passes; those that cannot be cost only it."""

from pathlib import Path

import pytest

from editcore.evaluation.metrics import MetricInput
from editcore.evaluation.teacher_forcing import (
    CaseQuestions,
    Question,
    ask,
    tokenize_questions,
)
from editcore.models.loading import load_model
from editcore.planning.jobs import EditJob
from tests.runs.conftest import Script, Sound
from tests.runs.test_edit import run


def test_a_metric_s_own_questions_are_answered_before_and_after_each_edit(
    script: Script, job: EditJob, tmp_path: Path
) -> None:
    given: list[MetricInput] = []

    def asking(case: CaseQuestions) -> list[Question]:
        if case.request.case_id == 1:
            raise KeyError("no such prompt")
        return case.scored("The sea is " * (1 if case.request.case_id == 0 else 999), "quiet")

    def odd(case: MetricInput) -> dict[str, float | None]:
        given.append(case)
        (asked,) = asking(case.questions)
        return {"oddness": case.after[asked].first_divergence}

    script(Sound, odd, asking)
    rows, changes = run(job.model_copy(update={"metrics": ("odd", "accuracy")}), tmp_path)
    (case,) = given
    (asked,) = asking(case.questions)
    model = load_model("tiny", job.model.source)
    tokens = tokenize_questions(model, [asked])
    assert case.before[asked].log_probability == pytest.approx(
        ask(model, tokens)[asked].log_probability, rel=1e-4
    )
    with changes[0].applied(model.model):
        now = ask(model, tokens)[asked].log_probability
    assert case.after[asked].log_probability == pytest.approx(now, rel=1e-4)
    assert now != case.before[asked].log_probability
    assert rows["status"][0] == "ok" and rows["oddness"][0] > 0
    assert rows["status"][1] == "metric odd: KeyError: 'no such prompt'"
    assert rows["status"][2].startswith("metric odd: ") and "tokens" in rows["status"][2]
    assert rows["oddness"].to_list()[1:] == [None, None]
    assert rows["efficacy"].null_count() == rows["perplexity"].null_count() == 0
