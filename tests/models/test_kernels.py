"""Faster kernels give the results of the operations that they replace."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from editcore.models.arithmetic import kernels
from editcore.models.arithmetic.kernels import OneDnnConv1D, OneDnnLinear, use_fast_kernels
from editcore.testing.models import tiny_model

ROWS, D_IN, D_OUT = 220, 192, 512  # large enough to be worth it

needs_onednn = pytest.mark.skipif(
    kernels._operation() is None, reason="this torch has no product by oneDNN"
)


@pytest.fixture
def by_amd(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor on which products are replaced."""
    monkeypatch.setattr(kernels, "_by_amd", lambda: True)
    yield


def maps() -> list[tuple[nn.Module, nn.Module]]:
    """Linear maps as they are, and the same with fast kernels."""
    torch.manual_seed(0)
    plain = [nn.Linear(D_IN, D_OUT), nn.Linear(D_IN, D_OUT, bias=False), Conv1D(D_OUT, D_IN)]
    pairs = []
    for one in plain:
        other = nn.Linear(D_IN, D_OUT, bias=one.bias is not None)
        other = Conv1D(D_OUT, D_IN) if isinstance(one, Conv1D) else other
        other.load_state_dict(one.state_dict())
        other.__class__ = kernels.FAST[type(other)]
        pairs.append((one.requires_grad_(False), other.requires_grad_(False)))
    return pairs


@needs_onednn
@pytest.mark.parametrize("place", range(3))
def test_a_product_and_its_gradient_are_those_of_the_map(place: int) -> None:
    plain, fast = maps()[place]
    results = []
    for one in (plain, fast):
        torch.manual_seed(1)
        inputs = torch.randn(2, ROWS // 2, D_IN, requires_grad=True)
        output = one(inputs)
        (gradient,) = torch.autograd.grad(output.square().sum(), inputs)
        with torch.no_grad():
            alone = one(inputs)
        results.append((output.detach(), gradient, alone))
    for ours, theirs in zip(results[1], results[0], strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)
    assert torch.equal(results[1][0], results[1][2])


@needs_onednn
@pytest.mark.parametrize("place", range(3))
def test_other_products_are_the_maps_own(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "product", None)
    plain, fast = maps()[place]
    few = torch.randn(4, D_IN)
    assert torch.equal(fast(few), plain(few))
    assert fast(few[:0]).shape == (0, D_OUT)
    many = torch.randn(ROWS, D_IN)
    learning = fast.requires_grad_(True)(many)
    assert torch.equal(learning.detach(), plain(many))
    learning.sum().backward()
    assert fast.weight.grad is not None
    doubled = many.double()
    assert torch.equal(fast.double()(doubled), plain.double()(doubled))


@needs_onednn
@pytest.mark.parametrize(("family", "kind"), [("gpt2", OneDnnConv1D), ("llama", OneDnnLinear)])
def test_a_model_keeps_its_weights_and_their_names(
    by_amd: None, family: str, kind: type[nn.Module]
) -> None:
    model = tiny_model(family)[0].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ids = torch.arange(12)[None]
    logits = model(ids).logits
    use_fast_kernels(model)
    assert any(type(module) is kind for module in model.modules())
    assert not any(type(module) in kernels.FAST for module in model.modules())
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    torch.testing.assert_close(model(ids).logits, logits)


@pytest.mark.parametrize(
    "operation",
    [
        None,
        lambda inputs, weight: inputs,
        lambda inputs, weight, bias, *rest: inputs @ weight.T + 1,
    ],
    ids=["missing", "other arguments", "other result"],
)
def test_a_torch_without_the_operation_multiplies_as_before(
    by_amd: None, monkeypatch: pytest.MonkeyPatch, operation: object
) -> None:
    class Namespace:
        pass

    namespace = Namespace()
    if operation is not None:
        setattr(namespace, kernels.OPERATION, operation)
    monkeypatch.setattr(kernels.torch.ops, "mkldnn", namespace, raising=False)
    kernels._operation.cache_clear()
    try:
        model = tiny_model("llama")[0]
        use_fast_kernels(model)
    finally:
        monkeypatch.undo()
        kernels._operation.cache_clear()
    assert not any(isinstance(module, OneDnnLinear) for module in model.modules())
