"""Every family's paths lead to the parts that they name; what is unknown is said plainly."""

import pytest
import torch

from editcore.errors import ModelError
from editcore.models import hooks
from editcore.models.architectures import family_of, stores_transposed
from editcore.models.loading import load_model, wrap_model
from editcore.testing.models import KINDS, LAYERS, WIDTH, tiny_model


@pytest.mark.parametrize("kind", KINDS)
def test_the_down_projection_is_the_last_step_of_the_mlp(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    parts = model.parts
    assert parts.depth == LAYERS
    ids = torch.tensor([[3, 4, 5]])
    with (
        torch.no_grad(),
        hooks.recording(parts.mlp(1)) as mlp,
        hooks.recording(parts.down(1)) as down,
    ):
        model.model(ids)
    assert torch.equal(mlp.output, down.output)
    weight = model.model.get_parameter(parts.down_weight(1))
    shape = weight.T.shape if stores_transposed(model.model, parts.down_weight(1)) else weight.shape
    assert shape == (WIDTH, down.input.shape[-1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_head_gives_the_models_own_logits(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    ids = torch.tensor([[3, 4, 5]])
    with torch.no_grad():
        hidden = model.model.base_model(ids).last_hidden_state
        torch.testing.assert_close(model.parts.logits(hidden[0]), model.model(ids).logits[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_can_start_in_the_middle(kind: str) -> None:
    model = wrap_model(kind, *tiny_model(kind))
    ids, blocks = torch.tensor([[3, 4, 5]]), model.parts.blocks
    with torch.no_grad():
        with hooks.recording(blocks[1]) as seen:
            expected = model.model(ids).logits
        with (
            hooks.resuming_after(model.parts, 1, seen.output),
            hooks.recording(blocks[0]) as first,
        ):
            found = model.model(torch.tensor([[9, 9, 9]])).logits
        again = model.model(ids).logits
    torch.testing.assert_close(found, expected)
    assert torch.equal(again, expected)
    assert torch.equal(first.output, seen.output), "the blocks below hand the states on"


def test_unknown_types_and_layers_are_named() -> None:
    with pytest.raises(ModelError, match=r"'bert'.*gpt2"):
        family_of("bert")
    with pytest.raises(ModelError, match="0 to 2"):
        wrap_model("gpt2", *tiny_model("gpt2")).parts.down(3)


def test_a_folder_without_weights_or_tokenizer_is_named(saved_model, tmp_path) -> None:
    import shutil

    folder = shutil.copytree(saved_model("gpt2"), tmp_path / "m")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"'m'.*model\.safetensors"):
        load_model("m", str(folder))
