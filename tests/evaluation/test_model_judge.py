"""A model judges by two letters, whose order and batches do not matter."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.evaluation import loglikelihood
from editcore.evaluation.judges import Judged
from editcore.evaluation.judges.model import CUE, LETTERS, ModelJudge
from editcore.evaluation.judges.model import judge as open_judge
from editcore.evaluation.judges.model_options import ModelJudgeConfig
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import tiny_model
from tests import chats

ANSWERS = [
    Judged("Who makes Coral?", ("Osdor",), "Osdor"),
    Judged("Who makes Coral?", ("Osdor", "Osdor Works"), "It is {answer}, or {a}."),
    Judged("Where is Harbor?", ("Tavel",), ""),
    Judged("Where is Harbor, which was built on a quiet shore by the sea?", ("Tavel",), "Elro"),
]
TEMPLATE = "{question} ({accepted}) {answer} A: {a} B: {b}"


def model(kind: str = "llama", **options: Any) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind, **options))


def judging(loaded: LoadedModel, **options: Any) -> ModelJudge:
    given = {"source": loaded.name, "template": TEMPLATE, **options}
    return ModelJudge(loaded, ModelJudgeConfig.model_validate(given))


@torch.no_grad()
def gap(loaded: LoadedModel, text: str, letters: tuple[str, str]) -> float:
    """log p(first letter) − log p(second letter) after a text, each read whole and alone."""
    before = len(loaded.tokenizer(text)["input_ids"])
    found = []
    for letter in letters:
        ids = torch.tensor(loaded.tokenizer(text + letter)["input_ids"])
        scores = loaded.model(ids[None]).logits[0, before - 1 : -1].double().log_softmax(-1)
        found.append(float(scores.gather(1, ids[before:, None]).sum()))
    return found[0] - found[1]


@contextmanager
def preferring(loaded: LoadedModel, text: str, by: float) -> Iterator[None]:
    """A block in which the model's logit of a token is higher by a number of nats."""
    token = loaded.tokenizer(text)["input_ids"][-1]

    def prefer(module: torch.nn.Module, given: Any, logits: torch.Tensor) -> torch.Tensor:
        raised = torch.zeros(logits.shape[-1])
        raised[token] = by
        return logits + raised

    hook = loaded.model.get_output_embeddings().register_forward_hook(prefer)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gemma2"])
def test_the_evidence_is_the_mean_gap_of_both_orders(kind: str) -> None:
    loaded = model(kind)
    for judged, found in zip(ANSWERS, judging(loaded).evidence(ANSWERS), strict=True):
        asked = f"{judged.question} ({'; '.join(judged.accepted)}) {judged.answer}"
        first, second = (
            gap(loaded, f"{asked} A: {a} B: {b}{CUE}", (" A", " B"))
            for a, b in (("right", "wrong"), ("wrong", "right"))
        )
        assert found == pytest.approx((first - second) / 2, abs=1e-4)
        assert abs(first - second) > 1e-3, "what the letters mean is read"


def test_a_preference_for_a_letter_cancels() -> None:
    loaded = model()
    judge = judging(loaded, probability=True)
    before = judge(ANSWERS)
    for letter in LETTERS:
        with preferring(loaded, f" {letter}", by=20):
            assert gap(loaded, f"It is{CUE}", (" A", " B")) * (1 if letter == "A" else -1) > 10
            assert judge(ANSWERS) == pytest.approx(before, abs=1e-4)


def test_scores_do_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = judging(model("gpt2"), probability=True)
    together = judge(ANSWERS)
    assert len({*together}) == len(ANSWERS)
    assert [*map(judge, ([each] for each in ANSWERS))] == [[pytest.approx(x)] for x in together]
    monkeypatch.setattr(loglikelihood, "tokens_per_pass", lambda model: 1)
    assert judge(ANSWERS) == pytest.approx(together)


@pytest.mark.parametrize(
    ("template", "start", "end", "letters"),
    [
        (chats.LINES, f"{chats.SYSTEM}\n# user\n", f"{chats.START}\n# assistant\n", ("A", "B")),
        (chats.SPACED, "[INST] ", " [/INST]", (" A", " B")),
    ],
)
def test_a_model_with_a_chat_template_is_asked_in_its_chat(
    tmp_path: Path, template: str, start: str, end: str, letters: tuple[str, str]
) -> None:
    made, tokenizer = tiny_model("llama", bos=True)
    tokenizer.chat_template = template
    for part in (made, tokenizer):
        part.save_pretrained(tmp_path)
    options = ModelJudgeConfig(source=str(tmp_path), template=TEMPLATE)
    loaded = wrap_model("llama", made, tokenizer)
    for chat in (None, False):
        before, after, said = (start, end, letters) if chat is None else ("", CUE, (" A", " B"))
        first, second = (
            gap(loaded, f"{before}Who makes Coral? (Osdor) Osdor A: {a} B: {b}{after}", said)
            for a, b in (("right", "wrong"), ("wrong", "right"))
        )
        opened = open_judge(options.model_copy(update={"chat": chat}))
        assert isinstance(opened, ModelJudge)
        assert opened.evidence(ANSWERS[:1]) == [pytest.approx((first - second) / 2, abs=1e-4)]


def test_the_score_follows_from_the_evidence() -> None:
    loaded = model("gpt2")
    evidence = judging(loaded).evidence(ANSWERS)
    assert {x > 0 for x in evidence if x is not None} == {True, False}
    assert judging(loaded)(ANSWERS) == [float(x is not None and x > 0) for x in evidence]
    wanted = [1 / (1 + math.exp(-x)) for x in evidence if x is not None]
    assert judging(loaded, probability=True)(ANSWERS) == pytest.approx(wanted)


def test_what_does_not_fit_or_is_not_finite_has_no_score() -> None:
    judge = judging(model(max_position_embeddings=128))
    long = replace(ANSWERS[0], answer="Osdor and " * 60)
    alone, other = judge.evidence([ANSWERS[0]]), judge.evidence([long, ANSWERS[0]])
    assert other == [None, pytest.approx(alone[0])]
    with preferring(judge.model, " A", by=math.nan):
        assert judge([ANSWERS[0]]) == [None]


def test_what_an_answer_contains_is_not_filled_in() -> None:
    options = ModelJudgeConfig(source="tiny-gpt2", template=TEMPLATE)
    asked = options.asked(ANSWERS[1], "right", "wrong")
    assert asked == (
        "Who makes Coral? (Osdor; Osdor Works) It is {answer}, or {a}. A: right B: wrong"
    )


@pytest.mark.parametrize("place", ["question", "accepted", "answer", "a", "b"])
def test_a_template_that_lacks_a_part_is_refused(place: str) -> None:
    lacking = TEMPLATE.replace(f"{{{place}}}", "")
    with pytest.raises(ValueError, match=rf"it has no {{{place}}}"):
        ModelJudgeConfig(source="tiny-gpt2", template=lacking)
