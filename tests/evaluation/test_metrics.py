"""Metrics follow their definitions on answers made by hand, and answers are the model's."""

from contextlib import nullcontext

import pytest
import torch

from editcore.errors import PluginError
from editcore.evaluation import disturbance
from editcore.evaluation.metrics import MetricInput, bind
from editcore.evaluation.metrics.accuracy import accuracy
from editcore.evaluation.metrics.score import score
from editcore.evaluation.teacher_forcing import (
    Answer,
    CaseQuestions,
    Question,
    ask,
    ask_edited,
    tokenize_questions,
)
from editcore.models.loading import wrap_model
from editcore.registry.candidates import Candidate, installed
from editcore.registry.hookspecs import MetricInfo, hookimpl
from editcore.registry.registry import load_registry, resolve_factory
from editcore.requests import EditRequest, Probe
from editcore.testing.models import KINDS, MLP_WIDTH, WIDTH, tiny_model, tiny_requests
from editcore.updates.delta import Delta, LowRankUpdate

REQUEST = EditRequest(
    0, "{} is", "A", "new", "true", paraphrases=("P1", "P2"), neighbours=(Probe("N1", "same"),)
)
QUESTIONS = CaseQuestions(REQUEST, "I. {}", ("II. {}", "III. {}"))

PROMPTS = {"A": "A is", "IA": "I. A is", "IIA": "II. A is", "IIIA": "III. A is"}


def answers(**changes: Answer) -> dict[Question, Answer]:
    plain = Answer((1, 2), (1, 2), -1.0)
    found = dict.fromkeys(QUESTIONS.all(), plain)
    for key, answer in changes.items():
        prompt, target = key.split("__")
        question = Question(PROMPTS.get(prompt, prompt), target)
        assert question in found
        found[question] = answer
    return found


def given(after: dict[Question, Answer], before: dict[Question, Answer] | None = None):
    return MetricInput(QUESTIONS, before or answers(), after, nullcontext)


def test_accuracy_is_the_share_of_target_tokens_that_are_the_argmax() -> None:
    half, none = Answer((1, 2), (1, 9), -1.0), Answer((1, 2), (8, 9), -1.0)
    columns = accuracy(given(answers(A__new=half, P1__new=none, IA__new=none)))
    assert columns["efficacy"] == 0.5
    assert columns["generalization"] == 0.5
    assert columns["generalization_prefixed"] == 1.0


def test_efficacy_after_prefixes_is_a_mean_with_its_range_and_number() -> None:
    half, none = Answer((1, 2), (1, 9), -1.0), Answer((1, 2), (8, 9), -1.0)
    columns = accuracy(given(answers(IA__new=none, IIIA__new=half)))
    assert columns["efficacy_prefixed"] == pytest.approx((0.0 + 1.0 + 0.5) / 3)
    assert (columns["efficacy_prefixed_min"], columns["efficacy_prefixed_max"]) == (0.0, 1.0)
    assert columns["efficacy_prefixed_n"] == 3


def test_only_the_edited_prompt_is_asked_after_further_prefixes() -> None:
    one = CaseQuestions(REQUEST, "I. {}")
    assert {*QUESTIONS.all()} - {*one.all()} == {
        Question("II. A is", "new"),
        Question("III. A is", "new"),
    }
    assert {*one.all()} <= {*QUESTIONS.all()}


def test_metrics_return_the_columns_that_their_records_declare() -> None:
    records = [metric.record for metric in load_registry([installed()[0]]).metrics.values()]
    assert len(records) == 6
    for record in records:
        own = resolve_factory(record.questions)(QUESTIONS) if record.questions else []
        asked = answers() | dict.fromkeys(own, Answer((1, 2), (1, 2), -1.0, 0.1, 0.2))
        assert set(resolve_factory(record.factory)(given(asked, asked))) == set(record.columns)


def test_locality_is_whether_the_argmax_changed_not_whether_it_is_right() -> None:
    wrong = Answer((1, 2), (7, 8), -1.0)
    assert accuracy(given(answers(N1__same=wrong), answers(N1__same=wrong)))["locality"] == 1.0
    assert accuracy(given(answers(N1__same=wrong)))["locality"] == 0.0


def test_the_divergence_at_neighbours_is_a_mean_in_nats() -> None:
    moved = Answer((1, 2), (1, 2), -1.0, 0.25)
    assert accuracy(given(answers(N1__same=moved)))["locality_kl"] == 0.25
    assert accuracy(given(answers()))["locality_kl"] is None


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_divergence_is_that_of_the_changed_model_at_the_target(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbance, "LIKELIEST", 100_000)  # the whole vocabulary
    model = wrap_model(kind, *tiny_model(kind))
    asked = tokenize_questions(model, [Question("The maker of the lamp is", "Elro Osdor")])
    generator = torch.Generator().manual_seed(1)
    sides = (torch.randn((d, 1), generator=generator) for d in (WIDTH, MLP_WIDTH))
    delta = Delta({model.parts.down_weight(1): LowRankUpdate(*sides)})
    (row,), (target,) = asked.rows, asked.targets

    def predicted() -> torch.Tensor:
        with torch.no_grad():
            return model.model(torch.tensor([row])).logits[0, -len(target) :].log_softmax(-1)

    before = predicted()
    with delta.applied(model.model):
        after = predicted()
    exact = (before.exp() * (before - after)).sum(-1).mean()
    ((unedited, edited),) = ask_edited(model, [asked], [delta])
    (question,) = asked.questions
    assert unedited[question].divergence is None
    assert 0 < edited[question].divergence == pytest.approx(float(exact), rel=1e-3)


def test_scores_compare_the_two_objects() -> None:
    low = Answer((1, 2), (1, 2), -2.0)
    columns = score(given(answers(A__true=low, P1__true=low, N1__new=low)))
    assert columns == {"efficacy_score": 1.0, "paraphrase_score": 0.5, "neighborhood_score": 1.0}


def test_a_model_that_says_nothing_scores_nothing() -> None:
    broken = Answer((1, 2), (-1, -1), float("nan"))
    after = dict.fromkeys(QUESTIONS.all(), broken)
    shares = {**accuracy(given(after, after))}
    assert shares.pop("efficacy_prefixed_n") == 3
    del shares["locality_kl"]  # not a share
    assert shares.pop("efficacy_all_facts") is None
    assert set(shares.values()) == {0.0}
    assert set(score(given(after)).values()) == {0.0}


def test_what_was_not_asked_is_not_measured() -> None:
    bare = CaseQuestions(EditRequest(0, "{} is", "A", "new", ""), "{}")
    after = dict.fromkeys(bare.all(), Answer((1,), (1,), -1.0))
    measured = MetricInput(bare, after, after, nullcontext)
    assert accuracy(measured)["locality"] is None
    assert accuracy(measured)["generalization"] is None
    assert set(score(measured).values()) == {None}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_equal_those_of_single_passes(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    questions = CaseQuestions(tiny_requests()[2], "Therefore. {}").all()
    for question, answer in ask(model, tokenize_questions(model, questions)).items():
        prompt = model.tokenizer(question.prompt)["input_ids"]
        ids = torch.tensor([[*prompt, *answer.target]])
        with torch.no_grad():
            scores = model.model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        assert answer.predicted == tuple(scores.argmax(-1).tolist())
        chosen = scores[torch.arange(len(answer.target)), list(answer.target)]
        assert answer.log_probability == pytest.approx(float(chosen.mean()), rel=1e-4)


def test_a_broken_model_predicts_nothing() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    with torch.no_grad():
        model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    asked = tokenize_questions(model, [Question("Coral is made by", "Elro")])
    answer = next(iter(ask(model, asked).values()))
    assert set(answer.predicted) == {-1}
    assert answer.accuracy == 0.0


class Greedy:
    EDITCORE_HOOKSPEC = 2

    @hookimpl
    def editcore_metrics(self):
        where = "editcore.evaluation.metrics.accuracy:accuracy"
        yield MetricInfo("first", "", "", where, ("share", "efficacy"))
        yield MetricInfo("second", "", "", where, ("status",))


def test_a_column_belongs_to_one_metric_of_a_study() -> None:
    registry = load_registry([*installed(), Candidate("greedy", "greedy", "1", Greedy)])
    assert [metric.info.name for metric in bind(["first"], registry)] == ["first"]
    with pytest.raises(PluginError, match="'efficacy', which metric accuracy already has"):
        bind(["accuracy", "first"], registry)
    with pytest.raises(PluginError, match="'status', which every row already has"):
        bind(["second"], registry, ["status"])
