"""Fast norms give the results of the families' own; what computes something else keeps its own."""

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from editcore.models.arithmetic import norm
from editcore.models.arithmetic.norm import rms_norm, use_fast_norms
from editcore.testing.models import tiny_model

WIDTH, EPSILON = 96, 1e-5


def norms_of(model: PreTrainedModel) -> list[nn.Module]:
    return [each for each in model.modules() if type(each).__name__.endswith("RMSNorm")]


def given(*shape: int) -> Tensor:
    states = torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(1))
    return states.requires_grad_()


def plain() -> LlamaRMSNorm:
    found = LlamaRMSNorm(WIDTH, EPSILON).requires_grad_(False)
    found.weight.copy_(torch.rand(WIDTH, generator=torch.Generator().manual_seed(2)) - 0.5)
    return found


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_the_output_and_its_gradient_are_those_of_the_norm(size: float) -> None:
    one = plain()
    states = (size * given(3, 5).detach()).requires_grad_()
    towards = torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(3))
    results = []
    for norm_of in (one, lambda x: rms_norm(x, one.weight, EPSILON)):
        output = norm_of(states)
        (gradient,) = torch.autograd.grad(output, states, towards)
        with torch.no_grad():
            results.append((output, gradient, norm_of(states)))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(
            found, expected, rtol=1e-5, atol=1e-5 * float(expected.detach().std())
        )


def test_the_gradient_is_that_of_finite_differences() -> None:
    states = given(2, 3).detach().double().requires_grad_()
    weight = plain().weight.double()
    assert torch.autograd.gradcheck(lambda x: rms_norm(x, weight, EPSILON), states)


def test_states_of_heads_may_be_views_of_others() -> None:
    heads = given(2, 7, 3).transpose(1, 2)
    assert not heads.is_contiguous()
    one = plain()
    for towards in (torch.ones(2, 3, 7, WIDTH), torch.ones(2, 7, 3, WIDTH).transpose(1, 2)):
        expected, found = one(heads), rms_norm(heads, one.weight, EPSILON)
        torch.testing.assert_close(found, expected)
        gradients = [torch.autograd.grad(each, heads, towards)[0] for each in (expected, found)]
        torch.testing.assert_close(*gradients)


def test_neither_the_states_nor_the_gradient_given_are_changed() -> None:
    states, towards = given(4), torch.ones(4, WIDTH)
    before = states.detach().clone()
    torch.autograd.grad(rms_norm(states, plain().weight, EPSILON), states, towards)
    assert torch.equal(states.detach(), before)
    assert torch.equal(towards, torch.ones(4, WIDTH))


@pytest.mark.parametrize("family", ["llama", "qwen3", "olmo2"])
def test_the_norms_of_a_model_are_replaced_once(family: str) -> None:
    model = tiny_model(family)[0].eval().requires_grad_(False)
    ids = torch.arange(12)[None]
    logits, before = model(ids).logits, norms_of(model)
    kinds = [type(each) for each in before]
    use_fast_norms(model)
    changed = [type(each) for each in before]
    assert all(
        issubclass(now, kind) and now is not kind for now, kind in zip(changed, kinds, strict=True)
    )
    use_fast_norms(model)
    assert [type(each) for each in before] == changed
    torch.testing.assert_close(model(ids).logits, logits)


class Shifted(LlamaRMSNorm):
    """A norm of another family: it has the attributes, but computes something else."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """With 1 + w, as Gemma has."""
        return super().forward(hidden_states) + super().forward(hidden_states) / self.weight


@pytest.mark.parametrize("kind", ["another formula", "float64", "bfloat16", "learning"])
def test_other_norms_compute_as_before(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("llama")[0].eval().requires_grad_(False)
    ids = torch.arange(12)[None]
    if kind == "another formula":
        for each in norms_of(model):
            each.__class__ = Shifted
    elif kind != "learning":
        model.to(getattr(torch, kind))
    logits = model(ids).logits
    use_fast_norms(model)
    if kind == "learning":
        model.requires_grad_(True)
    monkeypatch.setattr(norm, "rms_norm", None)
    after = model(ids).logits
    assert torch.equal(after.detach(), logits.detach())
    if kind == "learning":
        after.sum().backward()
        assert all(each.weight.grad is not None for each in norms_of(model))
