"""MALMEN's solve and its gradient are those of ridge regression; its training and edits follow."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from editcore_mend import malmen_network, malmen_training, sites, training
from editcore_mend.config import MalmenConfig, MendConfig
from editcore_mend.editor import MendEditor
from editcore_mend.examples import Examples, own
from editcore_mend.least_squares import RidgeFit
from editcore_mend.losses import Losses, Pose
from editcore_mend.malmen_editor import MalmenEditor
from editcore_mend.malmen_network import MalmenNetwork, Rows
from editcore_mend.malmen_training import Batch, MalmenTraining
from editcore_mend.split import split

from editcore import DataError, EditContext, EditRequest, RequestError, read_requests
from editcore.testing import tiny_facts, tiny_model, tiny_requests
from editcore.toolkit import (
    Checkpoint,
    Delta,
    DenseUpdate,
    LoadedModel,
    LowRankUpdate,
    ScoredRows,
    TrainedParts,
    load_trained,
    save_trained,
    target_row,
    token_factors,
    wrap_model,
)

LONG = EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")
REQUESTS = [*tiny_requests(), LONG]
FEW: dict[str, Any] = {
    "layers": (1, 2), "exclude": (), "rank": 4, "steps": 4, "batch": 3, "validate_every": 2,
    "initial_step": 1e-3,
}  # fmt: skip


def tiny(kind: str = "llama", seed: int = 0) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind, seed=seed))


def in_float64(kind: str) -> LoadedModel:
    model, tokenizer = tiny_model(kind)
    return wrap_model(kind, model.double(), tokenizer)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(training, "VALIDATION", 6)
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(tiny_facts()), encoding="utf-8")
    return path


def unused(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "never.safetensors", "", float("inf"))


def trained(facts: Path, model: LoadedModel, **options: Any) -> TrainedParts:
    editor = MalmenEditor(MalmenConfig(**FEW | options))
    return editor.train(EditContext(model, seed=1), [facts], unused(facts.parent))


# Fewer tokens than both widths, between them, as many as d_in, and more than both.
SIZES = [(3, LowRankUpdate), (10, DenseUpdate), (12, DenseUpdate), (40, DenseUpdate)]


@pytest.mark.parametrize(("count", "kind"), SIZES)
def test_the_change_solves_the_normal_equations(count: int, kind: type) -> None:
    keys, differences, ridge = numbers(count, 12), numbers(count, 9, seed=1), 0.7
    fit = RidgeFit.of(keys, differences, ridge)
    system = keys.T @ keys + ridge * torch.eye(12, dtype=keys.dtype)
    torch.testing.assert_close(fit.change() @ system, differences.T @ keys)
    update = fit.update(2.0)
    assert isinstance(update, kind)
    torch.testing.assert_close(update.dense(), 2 * fit.change())


@pytest.mark.parametrize("count", [1, 3, 40])
def test_the_gradient_through_the_solve_is_autograd_s(count: int) -> None:
    keys, gradient = numbers(count, 12), numbers(9, 12, seed=2)
    differences = numbers(count, 9, seed=1).requires_grad_()
    log_ridge = torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
    system = keys.T @ keys + log_ridge.exp() * torch.eye(12, dtype=keys.dtype)
    change = torch.linalg.solve(system, keys.T @ differences).T
    expected = torch.autograd.grad((change * gradient).sum(), (differences, log_ridge))
    fit = RidgeFit.of(keys, differences.detach(), float(log_ridge.detach().exp()))
    for found, wanted in zip(fit.pulled_back(gradient), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_gradient_through_the_solve_is_that_of_finite_differences() -> None:
    keys, differences, gradient = numbers(5, 12), numbers(5, 9, seed=1), numbers(9, 12, seed=2)
    moved, step = numbers(5, 9, seed=3), 1e-5

    def loss(size: float, log_ridge: float) -> float:
        fit = RidgeFit.of(keys, differences + size * moved, float(torch.tensor(log_ridge).exp()))
        return float((fit.change() * gradient).sum())

    fit = RidgeFit.of(keys, differences, 1.0)
    of_differences, of_log_ridge = fit.pulled_back(gradient)
    along = (loss(step, 0.0) - loss(-step, 0.0)) / (2 * step)
    assert along == pytest.approx(float((of_differences * moved).sum()), rel=1e-6)
    across = (loss(0.0, 1e-3) - loss(0.0, -1e-3)) / 2e-3
    assert across == pytest.approx(float(of_log_ridge), rel=1e-4)


def shaken(network: MalmenNetwork) -> MalmenNetwork:
    """The network with other parameters than at first, so that none has a gradient of zero."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=generator, dtype=parameter.dtype
            )
    return network


def whole_loss(pose: Pose, network: MalmenNetwork, rows: list[Rows]) -> torch.Tensor:
    """The loss of a batch as one graph, from the network through the solve to the model."""
    changes = []
    for site, each in enumerate(rows):
        ridge = network.log_ridges[site].exp()
        system = each.keys.T @ each.keys + ridge * torch.eye(each.keys.shape[1]).double()
        values = network.differences(site, each)
        changes.append(
            malmen_training.SharedChange(torch.linalg.solve(system, each.keys.T @ values).T)
        )
    found = pose.losses(changes)
    return 0.6 * found.edit + 1.5 * found.locality


def test_the_gradient_in_two_steps_and_in_parts_is_that_of_the_whole_graph(
    facts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = in_float64("llama")
    config = MalmenConfig(**FEW, maps="all", edit_weight=0.6, locality_weight=1.5)
    places = sites.find(model, config.layers)
    network = shaken(MalmenNetwork(places, 4, 1e-2, 0).double())
    of_all = MalmenTraining(model, config, network, split(facts, [], 0.4, 0), 0)
    examples = [own(model, request, 1, 1) for request in tiny_requests()]
    whole = Batch(model, places, examples)
    network.see(whole.rows)
    (pose,) = whole._poses
    expected = torch.autograd.grad(
        whole_loss(pose, network, whole.rows), list(network.parameters())
    )
    monkeypatch.setattr(malmen_training, "tokens_per_search", lambda *_: 1)
    monkeypatch.setattr(malmen_network, "TOKENS", 2)
    parts = Batch(model, places, examples)
    assert len(parts._poses) == len(examples) > 1
    network.zero_grad()
    of_all._differentiate(parts)
    for (name, parameter), wanted in zip(network.named_parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, msg=name)
        assert wanted.any(), name


def test_losses_are_those_of_a_model_whose_weights_are_changed() -> None:
    model = in_float64("gpt2")
    places = sites.find(model, (1, 2), only_down=True)
    batch = Batch(model, places, [own(model, request, 1, 1) for request in tiny_requests()])
    network = shaken(MalmenNetwork(places, 4, 1e-2, 0).double())
    fits = network.fits(batch.rows)
    found = Losses.summed(list(batch.losses([fit.change() for fit in fits])))
    delta = Delta({site.parameter: fit.update(1.0) for site, fit in zip(places, fits, strict=True)})
    nll = []
    with delta.applied(model.model), torch.no_grad():
        for request in tiny_requests():
            line = target_row(model, request.paraphrases[0], request.target_new)
            scores = model.model(torch.tensor([line.ids])).logits[0, -len(line.target) :]
            told = scores.log_softmax(-1).gather(1, torch.tensor(line.target)[:, None])
            nll.append(-told.mean())
    assert float(found.edit) == pytest.approx(float(torch.stack(nll).mean()), rel=1e-6)


def test_rows_are_the_positions_that_predict_the_target() -> None:
    model = tiny()
    places = sites.find(model, (1,), only_down=True)
    lines = [target_row(model, r.text, r.target_new) for r in REQUESTS]
    scored = ScoredRows.of(model, lines)
    (factors,) = token_factors(model, [place.module for place in places], scored)[0]
    for row, (line, rows) in enumerate(zip(lines, Rows.of(factors, scored), strict=True)):
        end = len(line.ids)
        own_places = slice(end - len(line.target), end)
        assert torch.equal(rows.keys, factors.inputs[row, own_places])
        assert torch.equal(rows.gradients, factors.deltas[row, own_places])


def test_untrained_differences_are_downhill_along_normalised_gradients() -> None:
    places = sites.find(tiny(), (0, 1), only_down=True)
    network = MalmenNetwork(places, 4, 0.25, 0)
    site = places[0]
    first, second = (
        Rows(numbers(7, site.d_in, seed=s).float(), numbers(7, site.d_out, seed=s).float())
        for s in (0, 1)
    )
    network.see([first, second])
    both = Rows.joined([first, second])  # maps of one shape share their statistics
    keys, gradients = ((t - t.mean(0)) / t.std(0) for t in (both.keys, both.gradients))
    expected = -0.25 * (both.keys * keys).sum(-1, keepdim=True) * gradients
    found = torch.cat(
        [network.differences(site, rows) for site, rows in enumerate((first, second))]
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_training_lowers_the_loss(facts: Path) -> None:
    options = {"steps": 30, "learning_rate": 5e-3, "initial_step": 1e-4, "validate_every": 5}
    found = trained(facts, tiny(), **options, step_learning_rate=0.1)
    history = found.about["history"]
    assert found.about["best"]["loss"] < history[0]["loss"]
    assert found.about["best"]["edit"] < history[0]["edit"]


def test_facts_edited_together_share_one_solve(facts: Path) -> None:
    model = tiny()
    context = EditContext(model, trained=trained(facts, model))
    editor, places = MalmenEditor(MalmenConfig(**FEW)), sites.find(model, (1, 2), only_down=True)
    together = editor.edit(context, REQUESTS)
    lines = [target_row(model, r.text, r.target_new) for r in REQUESTS]
    scored = ScoredRows.of(model, lines)
    factors, losses = token_factors(model, [place.module for place in places], scored)
    network = MalmenNetwork(places, FEW["rank"], 1.0, 0)
    network.load_state_dict(dict(context.trained.tensors))
    fits = network.fits([Rows.joined(Rows.of(each, scored)) for each in factors])
    assert together.delta.updates.keys() == {place.parameter for place in places}
    for place, fit in zip(places, fits, strict=True):
        update = together.delta.updates[place.parameter]
        torch.testing.assert_close(update.dense(), fit.change(), rtol=1e-3, atol=1e-6)
    assert together.diagnostics["loss"] == pytest.approx(float(losses.mean()))
    twice = MalmenEditor(MalmenConfig(**FEW, scale=2.0)).edit(context, REQUESTS)
    assert twice.delta.norm() == pytest.approx(2 * together.delta.norm())


def test_one_fact_is_of_low_rank_and_more_tokens_than_widths_are_dense(facts: Path) -> None:
    model = tiny()
    context = EditContext(model, trained=trained(facts, model))
    editor = MalmenEditor(MalmenConfig(**FEW))
    for update in editor.edit(context, REQUESTS[:1]).delta.updates.values():
        assert isinstance(update, LowRankUpdate)
    many = editor.edit(context, REQUESTS * 30)
    assert many.delta.finite()
    for update in many.delta.updates.values():
        assert isinstance(update, DenseUpdate)


def test_what_was_trained_for_another_model_is_refused(facts: Path, tmp_path: Path) -> None:
    model, path = tiny(), tmp_path / "trained.safetensors"
    learnt = trained(facts, model)
    save_trained(learnt, path, model, (1, 2), "{}")
    assert load_trained(model, (1, 2), path).about == json.loads(json.dumps(learnt.about))
    with pytest.raises(DataError, match="other weights"):
        load_trained(tiny(seed=1), (1, 2), path)


def test_parts_of_something_else_are_refused(facts: Path) -> None:
    model = tiny()
    learnt = trained(facts, model)
    without = TrainedParts({n: t for n, t in learnt.tensors.items() if n != "log_ridges"})
    editor = MalmenEditor(MalmenConfig(**FEW))
    for parts in (None, TrainedParts({}), without):
        with pytest.raises(DataError, match="MALMEN"):
            editor.edit(EditContext(model, trained=parts), REQUESTS)
    with pytest.raises(DataError, match="not made by MALMEN for these layers"):
        other = MalmenEditor(MalmenConfig(**FEW, maps="all"))
        other.edit(EditContext(model, trained=learnt), REQUESTS)
    with pytest.raises(DataError, match="not made by MEND"):
        mend = MendEditor(MendConfig(layers=(1, 2)))
        mend.edit(EditContext(model, trained=learnt), REQUESTS)
    with pytest.raises(RequestError, match="nothing to edit"):
        editor.edit(EditContext(model, trained=learnt), [])


@pytest.mark.parametrize(
    ("blocks", "layers"),
    [(28, list(range(22, 28))), (6, [3, 4, 5]), (3, [1, 2]), (2, [1]), (1, [0])],
)
def test_defaults_for_a_depth_are_the_last_layers(blocks: int, layers: list[int]) -> None:
    assert MalmenConfig.for_depth(blocks) == {"layers": layers}


def test_facts_that_are_edited_together_do_not_contradict_each_other(facts: Path) -> None:
    drawn = Examples.of(tiny(), read_requests(facts), 1, 4, together=True)
    for seed in range(5):
        found = drawn.draw(6, random.Random(seed))
        prompts = [example.edit.ids[: 1 - len(example.edit.target) or None] for example in found]
        assert len(set(prompts)) == len(found) == 3
        kept = {line.ids[: 1 - len(line.target) or None] for e in found for line in e.neighbours}
        assert kept and not kept & set(prompts)
    assert (drawn.tally.drawn, drawn.tally.left_out) == (15, 0)
