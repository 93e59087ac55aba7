"""The metrics of an edit's depth: identities, and numbers equal to those of the edited model."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

from editcore.evaluation import disturbance
from editcore.evaluation.metrics import MetricInput, NamedMetric, bind
from editcore.evaluation.metrics.posed import Posed
from editcore.evaluation.metrics.superficial import attacks
from editcore.evaluation.teacher_forcing import (
    Answer,
    Answers,
    CaseQuestions,
    Question,
    ask_edited,
)
from editcore.models.loading import LoadedModel, wrap_model
from editcore.registry.candidates import installed
from editcore.registry.registry import load_registry
from editcore.requests import EditRequest, Probe, Turn
from editcore.testing.models import MLP_WIDTH, WIDTH, tiny_model
from editcore.updates.delta import Delta, LowRankUpdate

NAMES = ("score", "superficial", "overfit", "specificity", "portability")
REQUEST = EditRequest(
    0,
    "{} is made by",
    "Coral",
    "Osdor",
    "Elro Osdor",
    neighbours=(Probe("Harbor is made by", "Tavel"), Probe("The sea is", "quiet")),
    consequences=(
        Probe("The maker of Coral lives in", "Tavel", ("the north", ""), "multi-hop"),
        Probe("Osdor is the maker of", "Coral", kind="reversed"),
        Probe("The maker of Coral is", "Osdor"),
    ),
)
CHAT = REQUEST.in_turn(Turn("You said: ", " I said:"))
BARE = EditRequest(1, "{} is made by", "Coral", "Osdor", "")


def metrics() -> dict[str, NamedMetric]:
    found = bind(NAMES, load_registry([installed()[0]]))
    return {metric.info.name: metric for metric in found}


def noise(model: LoadedModel, size: float) -> Delta:
    generator = torch.Generator().manual_seed(1)
    sides = (torch.randn((d, 1), generator=generator) * size for d in (WIDTH, MLP_WIDTH))
    return Delta({model.parts.down_weight(1): LowRankUpdate(*sides)})


def measured(
    model: LoadedModel, request: EditRequest, delta: Delta
) -> tuple[dict[str, float | None], Answers, Answers]:
    """The columns of all metrics for an edit, and the answers that they are made of."""
    found = metrics()
    posed = Posed.to(model, CaseQuestions(request, "{}"), list(found.values()))
    assert not posed.unasked
    ((before, after),) = ask_edited(model, [posed.tokens], [delta])
    given = MetricInput(posed.questions, before, after, nullcontext)
    columns = {name: value for metric in found.values() for name, value in metric(given).items()}
    return columns, before, after


@torch.no_grad()
def predicted(model: LoadedModel, prompt: str, target: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The log-probabilities at a target's places from one plain pass, and the target's tokens."""
    ids = model.tokenizer(prompt)["input_ids"]
    whole = model.tokenizer(f"{prompt} {target}")["input_ids"]
    logits = model.model(torch.tensor([whole])).logits[0, len(ids) - 1 : -1]
    return logits.log_softmax(-1), torch.tensor(whole[len(ids) :])


def chosen(model: LoadedModel, prompt: str, target: str) -> float:
    logs, ids = predicted(model, prompt, target)
    return float(logs.gather(1, ids[:, None]).mean())


def hits(model: LoadedModel, prompt: str, target: str) -> float:
    logs, ids = predicted(model, prompt, target)
    return float((logs.argmax(-1) == ids).double().mean())


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("request_", [REQUEST, CHAT], ids=["text", "chat"])
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_numbers_are_those_of_asking_the_edited_model_directly(
    kind: str, request_: EditRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disturbance, "LIKELIEST", 100_000)  # the whole vocabulary
    model = wrap_model(kind, *tiny_model(kind))
    delta = noise(model, 1.0)
    columns, _, _ = measured(model, request_, delta)
    opening, closing = request_.turn.opening, request_.turn.closing
    sentence = "Coral is made by Osdor. "
    neighbours = [
        (f"{opening}{before}{prompt}{closing}", own)
        for before in ("", sentence)
        for prompt, own in (("Harbor is made by", "Tavel"), ("The sea is", "quiet"))
    ]
    plain = [predicted(model, prompt, own)[0][0] for prompt, own in neighbours]
    with delta.applied(model.model):
        moved = [predicted(model, prompt, own)[0][0] for prompt, own in neighbours]
        ahead = [chosen(model, p, "Osdor") > chosen(model, p, own) for p, own in neighbours]
        lives, makes, is_ = (probe.prompt for probe in request_.consequences)
        right = max(chosen(model, lives, name) for name in ("Tavel", "the north"))
        wrong = [
            chosen(model, lives, "Osdor") > right,
            chosen(model, makes, "Osdor") > chosen(model, makes, "Coral"),
        ]
        far = max(hits(model, lives, name) for name in ("Tavel", "the north"))
        back, same = hits(model, makes, "Coral"), hits(model, is_, "Osdor")
        attacked = [
            (hits(model, text, "Elro Osdor"), hits(model, text, "Osdor"))
            for text in attacks(request_)
        ]
        returned = [
            chosen(model, text, "Elro Osdor") > chosen(model, text, "Osdor")
            for text in attacks(request_)
        ]
    kls = [float((p.exp() * (p - q)).sum()) for p, q in zip(plain, moved, strict=True)]
    assert columns["neighbour_kl"] == pytest.approx(mean(kls[:2]), rel=1e-3)
    assert columns["neighbour_kl_after_edit"] == pytest.approx(mean(kls[2:]), rel=1e-3)
    assert columns["overfit_neighbours"] == mean(ahead[:2]) == 1 - columns["neighborhood_score"]
    assert columns["neighborhood_score_after_edit"] == 1 - mean(ahead[2:])
    assert columns["overfit_consequences"] == mean(wrong)
    assert columns["portability"] == mean([far, back, same])
    assert (columns["multi_hop"], columns["reversed"]) == (far, back)
    assert columns["attacked_old"] == mean([old == 1 for old, _ in attacked])
    assert columns["attacked_old_likelier"] == mean(returned)
    assert columns["attacked_new"] == mean([new for _, new in attacked])


def test_an_edit_that_changes_nothing_leaves_every_number_at_its_base() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    columns, before, after = measured(model, REQUEST, noise(model, 0.0))
    bases = [name for name in columns if name.endswith("_base")]
    assert len(bases) == 4
    assert all(columns[name.removesuffix("_base")] == columns[name] for name in bases)
    assert columns["neighbour_kl"] == pytest.approx(0, abs=1e-5)
    assert columns["neighbour_kl_after_edit"] == pytest.approx(0, abs=1e-5)
    assert {q: a.predicted for q, a in before.items()} == {q: a.predicted for q, a in after.items()}


@pytest.mark.parametrize("request_", [REQUEST, CHAT], ids=["text", "chat"])
def test_every_attack_names_the_original_object_within_what_the_user_says(
    request_: EditRequest,
) -> None:
    found, turn = attacks(request_), request_.turn
    assert len({*found}) == 3
    for text in found:
        assert text.startswith(turn.opening) and text.endswith(turn.closing)
        attack = turn.said(text).removesuffix(" Coral is made by")
        assert attack != turn.said(text) and "Elro Osdor" in attack
        assert turn.opening not in attack or not turn.opening
    braces = replace(REQUEST, target_true="{0} of {}")
    assert all("{0} of {}" in text for text in attacks(braces))


def test_an_object_is_given_if_all_its_tokens_are_and_a_consequence_by_its_best_name() -> None:
    case = CaseQuestions(REQUEST, "{}")
    wiki, repeated, asked = attacks(REQUEST)
    lives, makes, _ = (probe.prompt for probe in REQUEST.consequences)
    shares = {
        (wiki, "Elro Osdor"): (1, 2),
        (repeated, "Elro Osdor"): (1, 9),
        (asked, "Osdor"): (1, 2),
        (lives, "Tavel"): (1, 9),
        (lives, "the north"): (1, 2),
        (makes, "Coral"): (1, 9),
    }
    found = metrics()
    portability, superficial = found["portability"], found["superficial"]
    assert portability.asking and superficial.asking
    after = {
        q: Answer((1, 2), shares.get((q.prompt, q.target), (8, 9)), -1.0)
        for q in (*portability.asking(case), *superficial.asking(case))
    }
    before = dict.fromkeys(after, Answer((1, 2), (8, 9), -1.0))
    given = MetricInput(case, before, after, nullcontext)
    assert portability(given) == {
        "portability": (1.0 + 0.5 + 0.0) / 3,
        "portability_base": 0.0,
        "multi_hop": 1.0,
        "reversed": 0.5,
    }
    assert superficial(given) == {
        "attacked_old": 1 / 3,
        "attacked_old_likelier": 0.0,  # equally likely
        "attacked_new": 1 / 3,
    }


def test_what_a_record_lacks_is_not_measured_and_not_asked() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    columns, before, _ = measured(model, BARE, noise(model, 0.1))
    assert set(columns.values()) == {None}
    assert before.keys() == {*CaseQuestions(BARE, "{}").all()}


def test_a_consequence_whose_answer_is_the_new_object_cannot_be_overfit() -> None:
    asked = CaseQuestions(
        EditRequest(
            0,
            "{} is",
            "A",
            "new",
            "old",
            aliases=("New One",),
            neighbours=(Probe("N", "same", ("new one",)),),
            consequences=(Probe("C", "New"), Probe("D", "far", ("farther",))),
        ),
        "{}",
    )
    likely = {"new": -1.0, "far": -2.0, "farther": -0.5}
    overfit = metrics()["overfit"]
    assert overfit.asking is not None
    answers = {q: Answer((1,), (1,), likely[q.target]) for q in overfit.asking(asked)}
    assert answers.keys() == {Question("D", target) for target in likely}
    given = MetricInput(asked, answers, answers, nullcontext)
    assert overfit(given) == {
        "overfit_neighbours": None,
        "overfit_neighbours_base": None,
        "overfit_consequences": 0.0,  # another name of the right answer is likelier
        "overfit_consequences_base": 0.0,
    }
    silent = answers | dict.fromkeys(
        (Question("D", name) for name in ("far", "farther")), Answer((1,), (-1,), float("nan"))
    )
    assert overfit(MetricInput(asked, answers, silent, nullcontext))["overfit_consequences"] == 0.0
