"""A change that is spread over layers brings the last one's block to its target."""

import pytest
import torch

from editcore.keyvalue.keys import tokenize_templates
from editcore.keyvalue.least_squares import solve_least_squares
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.spread import Solve, spread
from editcore.models.hooks import recording
from editcore.models.loading import LoadedModel, wrap_model
from editcore.models.tokenization import tokenize_prompt
from editcore.requests import EditRequest
from editcore.testing.models import tiny_model, tiny_requests

LAYERS = (0, 1)
KINDS = ("gpt2", "gptj", "llama")


def opened(kind: str) -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind))


def least_squares(model: LoadedModel, weight: float) -> Solve:
    width = model.parts.down(0).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    moment = SecondMoment.from_matrix(0, samples.T @ samples / len(samples), len(samples))
    return lambda layer, shares, keys: solve_least_squares(shares, keys, moment, weight)


def output_at_subject(model: LoadedModel, request: EditRequest) -> torch.Tensor:
    """The last edited layer's block output at the bare prompt's subject, from a plain pass."""
    prompt = tokenize_prompt(model.tokenizer, request.prompt, request.subject)
    with torch.no_grad(), recording(model.parts.block(LAYERS[-1])) as seen:
        model.model(torch.tensor([prompt.ids]))
    assert seen.output is not None
    return seen.output[0, prompt.subject]


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_with_a_small_weight_every_case_reaches_its_target(kind: str, number: int) -> None:
    """With λ near zero, no residual is left after the last layer."""
    model, requests = opened(kind), tiny_requests()[:number]
    prompts = [tokenize_templates(model, request, ["{}"]) for request in requests]
    targets = torch.randn(number, 32, generator=torch.Generator().manual_seed(1))
    delta = spread(model, prompts, targets, LAYERS, [1.0], least_squares(model, 1e-6))
    assert set(delta.updates) == {model.parts.down_weight(layer) for layer in LAYERS}
    with delta.applied(model.model):
        for request, target in zip(requests, targets, strict=True):
            reached = output_at_subject(model, request)
            torch.testing.assert_close(reached, target, rtol=1e-2, atol=1e-2)


def test_the_first_layer_takes_its_even_share() -> None:
    """With two layers, the lower one's residual is half of what is missing before the edit."""
    model, request = opened("llama"), tiny_requests()[0]
    prompts = [tokenize_templates(model, request, ["{}"])]
    missing = torch.randn(1, 32, generator=torch.Generator().manual_seed(1))
    targets = output_at_subject(model, request) + missing
    delta = spread(model, prompts, targets, LAYERS, [1.0], least_squares(model, 1.0))
    lower = delta.updates[model.parts.down_weight(LAYERS[0])]
    torch.testing.assert_close(lower.outputs.T, missing / 2, rtol=1e-4, atol=1e-4)
