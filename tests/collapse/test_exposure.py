"""What running text gets of a rank-one update, against what the edited model then adds."""

import math

import pytest
import torch

from editcore.collapse.exposure import Exposure
from editcore.collapse.running_text import RunningText
from editcore.evaluation.perplexity import TokenizedTexts, tokenize
from editcore.models.hooks import recording
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing.models import MLP_WIDTH, WIDTH, tiny_model
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate

LAYER = 1
TEXTS = ("The maker of the lamp is Elro and", "Osdor is", "A long road leads to the sea")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return wrap_model("tiny", *tiny_model(request.param))


@pytest.fixture(scope="module")
def texts(model: LoadedModel) -> TokenizedTexts:
    return tokenize(model, TEXTS)


@pytest.fixture(scope="module")
def exposure(model: LoadedModel, texts: TokenizedTexts) -> Exposure:
    return Exposure(RunningText(model, texts.batches))


def drawn(rank: int = 1) -> LowRankUpdate:
    generator = torch.Generator().manual_seed(1)
    return LowRankUpdate(*(torch.randn((d, rank), generator=generator) for d in (WIDTH, MLP_WIDTH)))


def first_tokens(model: LoadedModel, texts: TokenizedTexts, name: str) -> torch.Tensor:
    """The inputs of a map at the first token of each text, each text read alone."""
    found = []
    for text in TEXTS:
        (rows,) = tokenize(model, [text]).batches
        with torch.no_grad(), recording(model.model.get_submodule(name), stop=True) as seen:
            model.model.base_model(input_ids=rows.ids, attention_mask=rows.mask)
        found.append(seen.input[0, 0])
    return torch.stack(found)


def test_it_is_what_tokens_get_of_the_update_next_to_the_subject(model, texts, exposure) -> None:
    """The key at which the update is solved is here one that no text has."""
    name, update = model.parts.down_weight(LAYER), drawn()
    path = name.removesuffix(".weight")
    delta, unit = Delta({name: update}), update.inputs[:, 0] / update.inputs.norm()
    key = torch.ones(MLP_WIDTH)
    at_subject = (update.dense() @ key).norm()
    with torch.no_grad():
        added = [
            (seen @ update.dense().T).norm(dim=1)
            for seen in (exposure.text.at(path).inputs, first_tokens(model, texts, path))
        ]
    wanted = max(float(each.mean() / at_subject) for each in added)
    denominator = float((unit @ key).abs())
    assert exposure.of(delta, denominator) == pytest.approx(wanted, rel=1e-4)
    assert exposure.along(name, 7 * unit, denominator) == pytest.approx(wanted, rel=1e-4)


def test_an_update_that_only_first_tokens_get_is_rated_by_them(model, texts, exposure) -> None:
    name = model.parts.down_weight(LAYER)
    seen = exposure.text.at(name.removesuffix(".weight"))
    others = seen.inputs[~seen.first].double()
    key = seen.inputs[seen.first].double().mean(0)
    # The part of a first token's key that is orthogonal to all other tokens' keys.
    u = key - torch.linalg.pinv(others) @ (others @ key)
    denominator = float((u @ key).abs() / u.norm())
    assert exposure.along(name, u, denominator) == pytest.approx(1.0, abs=0.5)
    assert float((others @ u).abs().mean() / (u @ key)) < 1e-3


def test_a_denominator_of_zero_exposes_everything(model, exposure) -> None:
    assert exposure.along(model.parts.down_weight(LAYER), torch.ones(MLP_WIDTH), 0.0) == math.inf


def test_only_one_change_of_rank_one_with_a_denominator_has_one(model, exposure) -> None:
    name, other = (model.parts.down_weight(layer) for layer in (LAYER, 0))
    assert exposure.of(Delta({name: drawn()}), None) is None
    assert exposure.of(Delta({name: drawn(2)}), 1.0) is None
    assert exposure.of(Delta({name: DenseUpdate(drawn().dense())}), 1.0) is None
    assert exposure.of(Delta({name: drawn(), other: drawn()}), 1.0) is None


def test_a_rank_one_change_of_no_linear_map_has_none(model, exposure) -> None:
    name, weight = next(
        (n, p) for n, p in model.model.named_parameters() if model.parts.block_of(n) is None
    )
    update = LowRankUpdate(*(torch.ones((d, 1)) for d in weight.shape))
    assert exposure.of(Delta({name: update}), 1.0) is None
