"""MEND's mathematics: untrained, it is gradient descent, and its losses are the edited model's."""

import pytest
import torch
from editcore_mend import sites
from editcore_mend.examples import own
from editcore_mend.losses import Pose
from editcore_mend.network import MendNetwork
from editcore_mend.statistics import RunningStatistics

from editcore import EditRequest
from editcore.testing import KINDS_IN_FLOAT64, tiny_model, tiny_requests
from editcore.toolkit import (
    BatchedFactors,
    Delta,
    LoadedModel,
    LowRankUpdate,
    ScoredRows,
    TargetRow,
    TokenFactors,
    target_row,
    token_factors,
    wrap_model,
)

LAYERS = (0, 2)
LONG = EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")


def tiny(kind: str) -> LoadedModel:
    model, tokenizer = tiny_model(kind)
    return wrap_model(kind, model.double(), tokenizer)


def lines(model: LoadedModel) -> list[TargetRow]:
    return [target_row(model, r.text, r.target_new) for r in (*tiny_requests(), LONG)]


def factors_of(
    model: LoadedModel, places: tuple[sites.Site, ...], posed: list[TargetRow]
) -> list[TokenFactors]:
    scored = ScoredRows.of(model, posed)
    return token_factors(model, [place.module for place in places], scored)[0]


def test_every_map_of_the_blocks_is_edited_and_no_other() -> None:
    places = sites.find(tiny("llama"), (2, 1, 2))
    names = [
        f"model.layers.{n}.mlp.{m}_proj.weight" for n in (1, 2) for m in ("gate", "up", "down")
    ]
    assert [site.parameter for site in places] == names
    assert [(site.d_in, site.d_out) for site in places[:3]] == [(32, 64), (32, 64), (64, 32)]


def dense(factors: BatchedFactors, row: int) -> torch.Tensor:
    return factors.outputs[row] @ factors.inputs[row].T


def test_an_untrained_network_is_gradient_descent() -> None:
    model = tiny("gpt2")
    places = sites.find(model, LAYERS)
    factors = factors_of(model, places, lines(model))
    network = MendNetwork(places, rank=4, step=0.25, seed=0).double()
    for each, change in zip(factors, network(factors), strict=True):
        for row in range(len(each.inputs)):
            plain = each.deltas[row].T @ each.inputs[row]
            torch.testing.assert_close(dense(change, row), -0.25 * plain, rtol=1e-6, atol=1e-12)


def test_the_largest_seed_of_a_study_makes_a_network() -> None:
    largest, zero = (
        MendNetwork(sites.find(tiny("llama"), (1,)), rank=2, step=1e-3, seed=seed)
        for seed in (2**63 - 1, 0)
    )
    drawn, other = (dict(network.named_parameters()) for network in (largest, zero))
    assert any(not torch.equal(drawn[name], other[name]) for name in drawn)


def test_an_untrained_network_learns_from_its_first_step() -> None:
    model = tiny("gpt2")
    places = sites.find(model, LAYERS)
    factors = factors_of(model, places, lines(model))
    network = MendNetwork(places, rank=4, step=0.25, seed=0).double()
    sum((c.outputs @ c.inputs.transpose(1, 2)).square().sum() for c in network(factors)).backward()
    for shape in network.networks:
        assert shape.hidden.out.grad.any() and shape.last.out.grad.any()


def test_edits_in_a_batch_are_what_they_are_alone() -> None:
    model = tiny("llama")
    places, posed = sites.find(model, LAYERS), lines(model)
    factors = factors_of(model, places, posed)
    network = MendNetwork(places, rank=4, step=0.1, seed=0).double()
    network.see(factors)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
            )
        together = network(factors)
        for row, one in enumerate(posed):
            alone = network(factors_of(model, places, [one]))
            for each, other in zip(alone, together, strict=True):
                torch.testing.assert_close(dense(each, 0), dense(other, row))


@pytest.mark.parametrize("kind", KINDS_IN_FLOAT64)
def test_losses_are_those_of_models_whose_weights_are_changed(kind: str) -> None:
    model = tiny(kind)
    places = sites.find(model, (1, 2))
    examples = [own(model, request, 1, 1) for request in tiny_requests()]
    pose = Pose(model, places, examples)
    network = MendNetwork(places, rank=4, step=0.5, seed=0).double()
    changes = network(pose.factors)
    found = pose.losses(changes)
    edit, kl = [], []
    for row, example in enumerate(examples):
        delta = Delta(
            {
                site.parameter: LowRankUpdate(c.outputs[row].detach(), c.inputs[row].detach())
                for site, c in zip(places, changes, strict=True)
            }
        )
        before = scores(model, example.neighbours[0])
        with delta.applied(model.model):
            after = scores(model, example.neighbours[0])
            told = scores(model, example.paraphrases[0])
        kl.append((before.exp() * (before - after)).sum(-1))
        edit.append(-told.gather(1, torch.tensor(example.paraphrases[0].target)[:, None]).mean())
    assert float(found.edit) == pytest.approx(float(torch.stack(edit).mean()), rel=1e-6)
    assert float(found.locality) == pytest.approx(float(torch.cat(kl).mean()), rel=1e-6)
    assert float(found.locality) > 0


def scores(model: LoadedModel, one: TargetRow) -> torch.Tensor:
    with torch.no_grad():
        logits = model.model(torch.tensor([one.ids])).logits[0, -len(one.target) :]
    return logits.log_softmax(-1)


def test_statistics_are_those_of_all_vectors_whatever_the_batches() -> None:
    vectors = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * 3 + 7
    running = RunningStatistics(6)
    assert torch.equal(running(vectors), vectors)
    for part in vectors.split([1, 9, 0, 40]):
        running.see(part)
    expected = (vectors - vectors.mean(0)) / vectors.std(0)
    torch.testing.assert_close(running(vectors), expected)


def test_tokens_that_do_not_count_change_nothing() -> None:
    inputs, deltas = torch.ones(1, 3, 32), torch.zeros(1, 3, 64)
    deltas[0, 1] = 1.0
    factors = TokenFactors(inputs, deltas, deltas.any(-1))
    site = sites.find(wrap_model("llama", *tiny_model("llama")), (1,))[:1]
    network = MendNetwork(site, rank=2, step=0.1, seed=0)
    network.see([TokenFactors(inputs + 1, deltas + 2, torch.ones(1, 3, dtype=torch.bool))])
    (change,) = network([factors])
    assert change.outputs[0].any(0).tolist() == [False, True, False]
