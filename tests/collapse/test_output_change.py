"""The change of outputs before a change is made: what the changed model then does."""

import pytest
import torch

from editcore.collapse.output_change import OutputChange
from editcore.collapse.running_text import RunningText
from editcore.evaluation.perplexity import TokenizedTexts, tokenize
from editcore.models.hooks import recording
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import MLP_WIDTH, WIDTH, tiny_model
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

LAYER = 1
TEXTS = ("The maker of the lamp is Elro and", "Osdor is", "A long road leads to the sea")


@pytest.fixture(scope="module", params=["gpt2", "llama", "gemma2"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return wrap_model("tiny", *tiny_model(request.param))


@pytest.fixture(scope="module")
def texts(model: LoadedModel) -> TokenizedTexts:
    return tokenize(model, TEXTS)


def low_rank(d_out: int = WIDTH, d_in: int = MLP_WIDTH, rank: int = 2) -> LowRankUpdate:
    generator = torch.Generator().manual_seed(1)
    return LowRankUpdate(
        *(torch.randn((d, rank), generator=generator) * 0.1 for d in (d_out, d_in))
    )


def outputs(model: LoadedModel, texts: TokenizedTexts, path: str) -> torch.Tensor:
    """A map's outputs at every token of the texts."""
    found = []
    for rows in texts.batches:
        with torch.no_grad(), recording(model.model.get_submodule(path)) as seen:
            model.model(input_ids=rows.ids, attention_mask=rows.mask)
        found.append(seen.output[rows.mask.bool()])
    return torch.cat(found)


def test_it_is_what_the_changed_map_then_adds_token_by_token(model, texts) -> None:
    name = model.parts.down_weight(LAYER)
    delta, path = Delta({name: low_rank()}), name.removesuffix(".weight")
    before = outputs(model, texts, path)
    with delta.applied(model.model):
        after = outputs(model, texts, path)
    wanted = ((after - before).norm(dim=1) / before.norm(dim=1)).mean()
    assert OutputChange(RunningText(model, texts.batches)).of(delta) == pytest.approx(
        float(wanted), rel=1e-3
    )


def test_factors_give_what_the_matrix_gives_and_no_weight_changes(model, texts) -> None:
    name = model.parts.down_weight(LAYER)
    before = model.model.get_parameter(name).clone()
    change, update = OutputChange(RunningText(model, texts.batches)), low_rank()
    dense = Delta({name: DenseUpdate(update.dense())})
    assert change.of(Delta({name: update})) == pytest.approx(change.of(dense), rel=1e-4)
    assert torch.equal(before, model.model.get_parameter(name))


def test_maps_add_in_quadrature_and_scale_with_the_change(model, texts) -> None:
    change = OutputChange(RunningText(model, texts.batches))
    first, second = (model.parts.down_weight(layer) for layer in (0, 1))
    one = change.of(Delta({first: low_rank()}))
    both = change.of(Delta({first: low_rank(), second: low_rank()}))
    assert one < both < one + change.of(Delta({second: low_rank()}))
    assert change.of(Delta({first: low_rank().scaled(3)})) == pytest.approx(3 * one, rel=1e-4)
    assert change.of(Delta({})) == 0


def test_a_bias_adds_the_same_to_every_token() -> None:
    model = wrap_model("tiny", *tiny_model("gpt2"))
    texts = tokenize(model, TEXTS)
    path = model.parts.down_weight(LAYER).removesuffix(".weight")
    bias = DenseUpdate(torch.full((WIDTH,), 0.5))
    wanted = (bias.dense().norm() / outputs(model, texts, path).norm(dim=1)).mean()
    found = OutputChange(RunningText(model, texts.batches)).of(Delta({f"{path}.bias": bias}))
    assert found == pytest.approx(float(wanted), rel=1e-4)


def test_parameters_of_no_linear_map_have_none(model, texts) -> None:
    embeddings = next(
        name for name, _ in model.model.named_parameters() if model.parts.block_of(name) is None
    )
    shape = model.model.get_parameter(embeddings).shape
    delta = Delta({embeddings: DenseUpdate(torch.ones(shape))})
    assert OutputChange(RunningText(model, texts.batches)).of(delta) is None
