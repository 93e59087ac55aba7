"""What an edit does to a sample of text is what the changed model does to it."""

from pathlib import Path

import pytest
import torch

from editcore.collapse.sample import TOKENS, Sample
from editcore.errors import DataError
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import PerplexitySpec
from editcore.testing.models import MLP_WIDTH, WIDTH, tiny_model
from editcore.updates.delta import Delta, LowRankUpdate
from tests.studies import write_json

LAYER = 1
TEXTS = ("The maker of the lamp is Elro and", "Osdor is", "A long road leads to the sea")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> LoadedModel:
    return wrap_model("tiny", *tiny_model(request.param))


def change(model: LoadedModel, size: float) -> Delta:
    generator = torch.Generator().manual_seed(1)
    sides = (torch.randn((d, 1), generator=generator) * size for d in (WIDTH, MLP_WIDTH))
    return Delta({model.parts.down_weight(LAYER): LowRankUpdate(*sides)})


def likeliest(model: LoadedModel, text: str) -> torch.Tensor:
    ids = torch.tensor([model.tokenizer(text, add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        return model.model(input_ids=ids).logits[0, :-1].argmax(-1)


def test_the_share_of_changed_tokens_is_that_of_the_changed_model(model: LoadedModel) -> None:
    delta = change(model, 1.0)
    before = torch.cat([likeliest(model, text) for text in TEXTS])
    with delta.applied(model.model):
        after = torch.cat([likeliest(model, text) for text in TEXTS])
    (found,) = Sample.of_texts(model, TEXTS).effects([delta])
    assert 0 < found.changed == pytest.approx(float((before != after).float().mean()))
    assert found.ratio not in (None, 1.0)


def test_an_edit_that_changes_nothing_has_no_effect(model: LoadedModel) -> None:
    sample = Sample.of_texts(model, TEXTS)
    none, some = sample.effects([change(model, 0.0), change(model, 1.0)])
    assert none.changed == 0
    assert none.ratio == pytest.approx(1.0)
    assert some.changed > 0


def test_the_sample_is_of_other_texts_than_the_verdict_if_there_are_any(
    model: LoadedModel, tmp_path: Path
) -> None:
    path = str(write_json(tmp_path / "texts.json", list(TEXTS)))
    others = Sample.of(model, PerplexitySpec(path=path, texts=2))
    assert others.unedited.tokens.tolist() == [len(likeliest(model, TEXTS[2]))]
    same = Sample.of(model, PerplexitySpec(path=path, texts=3))
    assert len(same.unedited.tokens) == 3


def test_a_sample_ends_after_its_number_of_tokens(model: LoadedModel) -> None:
    found = Sample.of_texts(model, ["A", *[TEXTS[0]] * TOKENS])
    size = len(likeliest(model, TEXTS[0])) + 1
    predicted = int(found.unedited.tokens.sum())
    texts = len(found.unedited.tokens)
    assert TOKENS - 1 <= predicted + texts <= TOKENS + 1
    assert texts == -(-TOKENS // size)
    with pytest.raises(DataError, match="no text of the sample has two tokens"):
        Sample.of_texts(model, ["A"])
