"""The search for v* agrees with the reference, case by case, on every architecture."""

import math
from dataclasses import replace

import pytest
import torch

from editcore.config.value_options import ValueOptions
from editcore.editing.reference import optimise_one
from editcore.keyvalue.value import Value, ValueProblem, pose
from editcore.keyvalue.value_search import ValueSearch, optimise
from editcore.models import hooks
from editcore.models.loading import LoadedModel, wrap_model
from editcore.requests import EditRequest
from editcore.testing.models import KINDS, tiny_model, tiny_requests

TEMPLATES = ("{}", "Therefore. {}", "You said that the sea. {}", "I think. {}")
OPTIONS = ValueOptions(layer=1, steps=6, learning_rate=0.1, stop_loss=0.0)
# Nothing holds δ back, so that its target becomes the likeliest token.
UNBOUND = ValueOptions(layer=2, steps=20, stop_loss=0.0, kl_factor=0.0, weight_decay=0.0)
AGREEING = UNBOUND.model_copy(update={"agreement_steps": 2})


def loaded(kind: str, **options: object) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind, **options))


def posed(model: LoadedModel) -> list[ValueProblem]:
    return [pose(model, request, TEMPLATES) for request in tiny_requests()]


def at_the_end(model: LoadedModel) -> list[ValueProblem]:
    """Problems whose target follows the subject, so that δ acts on its logits directly."""
    return [pose(model, replace(request, prompt="{}"), TEMPLATES) for request in tiny_requests()]


def found(model: LoadedModel, problems, options: ValueOptions, **how: int) -> list[Value]:
    values = dict(optimise(model, problems, options, **how))
    return [values[i] for i in range(len(problems))]


def assert_same(fast: Value, plain: Value, tolerance: float = 1e-4) -> None:
    assert fast.steps == plain.steps
    torch.testing.assert_close(fast.initial, plain.initial, rtol=1e-4, atol=1e-5)
    difference = (fast.target - plain.target).norm() / plain.target.norm()
    assert difference < tolerance
    assert fast.loss == pytest.approx(plain.loss, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_search_equals_the_reference(kind: str) -> None:
    model = loaded(kind)
    problems = posed(model)
    for fast, problem in zip(found(model, problems, OPTIONS), problems, strict=True):
        assert_same(fast, optimise_one(model, problem, OPTIONS))


def test_the_block_as_site_starts_from_its_output() -> None:
    model = loaded("gptj")
    options = ValueOptions(layer=1, site="block", steps=4, learning_rate=0.1, clamp_norm_factor=0.1)
    problems = posed(model)
    for fast, problem in zip(found(model, problems, options), problems, strict=True):
        assert_same(fast, optimise_one(model, problem, options))
    mlp = found(model, problems, ValueOptions(layer=1, steps=1))[0]
    block = found(model, problems, ValueOptions(layer=1, site="block", steps=1))[0]
    assert (mlp.initial - block.initial).norm() > 0.1


def test_the_search_equals_the_reference_with_a_start_token() -> None:
    model = loaded("llama", bos=True)
    problems = posed(model)
    for fast, problem in zip(found(model, problems, OPTIONS), problems, strict=True):
        assert_same(fast, optimise_one(model, problem, OPTIONS))


def test_one_batch_equals_one_by_one() -> None:
    model = loaded("gpt2")
    problems = posed(model)
    together = found(model, problems, OPTIONS)
    alone = found(model, problems, OPTIONS, bytes_per_batch=1)
    for a, b in zip(together, alone, strict=True):
        assert_same(a, b)


@pytest.mark.parametrize("layer", [0, 2])
def test_first_and_last_layer(layer: int) -> None:
    """The subject ends the prompt: from the last block, nothing reaches a later token."""
    model = loaded("gptj")
    options = ValueOptions(layer=layer, steps=4, learning_rate=0.1, stop_loss=0.0)
    problem = pose(model, EditRequest(0, "The lamp is {}", "Harbor", "Osdor", "Elro"), TEMPLATES)
    (fast,) = found(model, [problem], options)
    assert_same(fast, optimise_one(model, problem, options))


def test_each_case_stops_early_on_its_own() -> None:
    model = loaded("gpt2")
    problems = posed(model)
    losses = [v.loss for v in found(model, problems, ValueOptions(layer=1, steps=1))]
    between = sorted(losses)[1] + 1e-3
    options = ValueOptions(layer=1, steps=5, learning_rate=1e-3, stop_loss=between)
    steps = [v.steps for v in found(model, problems, options)]
    assert sorted(steps)[:2] == [1, 1]
    assert max(steps) > 1


def test_a_non_finite_loss_ends_its_case_alone() -> None:
    model = loaded("gpt2")
    problems = posed(model)
    search = ValueSearch(model, problems, OPTIONS)
    rows = search._running.rows
    rows.states[rows.case == 1] = float("nan")
    broken = dict(search.run())
    assert (broken[1].steps, broken[1].loss) == (1, pytest.approx(math.nan, nan_ok=True))
    alone = found(model, problems, OPTIONS, bytes_per_batch=1)
    for case in (0, 2):
        assert_same(broken[case], alone[case])


def test_ended_cases_leave_the_batch_and_the_others_continue_unchanged() -> None:
    """The first case stops at once, so the batch shrinks; Adam's moments have to stay in step."""
    model = loaded("llama")
    problems = posed(model)
    losses = [v.loss for v in found(model, problems, ValueOptions(layer=1, steps=1))]
    options = ValueOptions(layer=1, steps=6, learning_rate=0.1, stop_loss=min(losses) + 1e-3)
    together = found(model, problems, options)
    assert min(value.steps for value in together) == 1
    assert max(value.steps for value in together) == 6
    for fast, problem in zip(together, problems, strict=True):
        assert_same(fast, optimise_one(model, problem, options))


def test_the_norm_is_clamped() -> None:
    model = loaded("llama")
    options = ValueOptions(layer=1, steps=6, learning_rate=5.0, clamp_norm_factor=0.5)
    for value in found(model, posed(model), options):
        assert value.delta.norm() <= 0.5 * value.initial.norm() * 1.0001


def test_the_search_makes_the_target_more_probable() -> None:
    model = loaded("gpt2")
    problem = posed(model)[:1]
    (before,) = found(model, problem, ValueOptions(layer=1, steps=1))
    (after,) = found(model, problem, ValueOptions(layer=1, steps=15))
    assert after.loss < before.loss - 1.0


def test_the_model_is_left_as_it_was() -> None:
    model = loaded("llama")
    before = {n: p.clone() for n, p in model.model.named_parameters()}
    ids = torch.tensor([[5, 6, 7]])
    logits = model.model(ids).logits
    list(optimise(model, posed(model), OPTIONS))
    assert torch.equal(model.model(ids).logits, logits)
    assert all(torch.equal(p, before[n]) for n, p in model.model.named_parameters())


def test_problems_know_where_the_subject_ends() -> None:
    model = loaded("gpt2")
    problem = pose(model, EditRequest(0, "{} is made by", "Coral", "Osdor", "Elro"), ("{}",))
    assert problem.prompts[0].subject == 0
    assert problem.prompts[0].subject_tokens == 1
    assert problem.suffix == len(problem.prompts[0].ids) + len(problem.target) - 1


def likeliest(model: LoadedModel, problem: ValueProblem, value: Value, layer: int) -> torch.Tensor:
    """Whether each target token is the likeliest `[template, token]`, from passes one by one."""
    found = []
    for prompt in problem.prompts:
        row = torch.tensor([[*prompt.ids, *problem.target[:-1]]])
        at = torch.tensor([prompt.subject])
        with torch.no_grad(), hooks.adding(model.parts.down(layer), at, value.delta[None]):
            logits = model.model(row).logits[0, len(prompt.ids) - 1 :]
        found.append(logits.argmax(-1) == torch.tensor(problem.target))
    return torch.stack(found)


@pytest.mark.parametrize("kind", ["gpt2", "gptj", "llama"])
@pytest.mark.parametrize("agreement", ["templates", "released"])
def test_a_search_that_stops_by_agreement_equals_the_reference(kind: str, agreement: str) -> None:
    model = loaded(kind)
    problems = at_the_end(model)
    options = AGREEING.model_copy(update={"agreement": agreement})
    values = found(model, problems, options)
    for fast, problem in zip(values, problems, strict=True):
        assert_same(fast, optimise_one(model, problem, options))
    assert min(value.steps for value in values) < options.steps


def test_it_ends_in_the_second_step_in_which_all_templates_agree() -> None:
    model = loaded("gpt2")
    problem = at_the_end(model)[0]
    (stopped,) = found(model, [problem], AGREEING)
    counts = []
    for steps in range(1, stopped.steps + 1):
        (value,) = found(model, [problem], UNBOUND.model_copy(update={"steps": steps}))
        counts.append(bool(likeliest(model, problem, value, UNBOUND.layer).all()))
    assert sum(counts) == 2
    assert counts[-1]


def test_off_by_default_it_changes_neither_the_search_nor_a_file_s_name() -> None:
    assert "agreement" not in OPTIONS.model_dump_json()
    assert ValueOptions.model_validate_json(AGREEING.model_dump_json()) == AGREEING
