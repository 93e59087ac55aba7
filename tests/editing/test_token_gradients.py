"""The rank-one factors of an edit's gradient add up to autograd's gradient of the weights."""

import pytest
import torch

from editcore import EditRequest, ModelError
from editcore.editing.target_rows import ScoredRows, TargetRow, target_row
from editcore.editing.token_gradients import token_factors
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel, wrap_model
from editcore.testing import KINDS_IN_FLOAT64, tiny_model, tiny_requests

LONG = EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")


def weights(model: LoadedModel) -> list[str]:
    """Every linear map of the MLPs of two blocks."""
    anatomy = model.anatomy
    return [anatomy.path(layer, f"{name}.weight") for layer in (0, 2) for name in anatomy.maps]


def textbook(model: LoadedModel, names: list[str], one: TargetRow) -> list[torch.Tensor]:
    """The dense gradients `[d_out, d_in]` of one row's loss, by autograd on the weights."""
    parameters = [model.model.get_parameter(name).requires_grad_() for name in names]
    logits = model.model(torch.tensor([one.ids])).logits[0, -len(one.target) :]
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(one.target))
    dense = torch.autograd.grad(loss, parameters)
    for parameter in parameters:
        parameter.requires_grad_(False)
    return [
        g.T if stores_transposed(model.model, name) else g
        for g, name in zip(dense, names, strict=True)
    ]


@pytest.mark.parametrize("kind", KINDS_IN_FLOAT64)
def test_factors_of_a_batch_are_autograds_gradient_of_each_edit(kind: str) -> None:
    model, tokenizer = tiny_model(kind)
    loaded = wrap_model(kind, model.double(), tokenizer)
    posed = [target_row(loaded, r.text, r.target_new) for r in (*tiny_requests(), LONG)]
    names = weights(loaded)
    maps = [loaded.model.get_submodule(name.removesuffix(".weight")) for name in names]
    factors, losses = token_factors(loaded, maps, ScoredRows.of(loaded, posed))
    assert losses.shape == (len(posed),)
    for row, one in enumerate(posed):
        for each, dense in zip(factors, textbook(loaded, names, one), strict=True):
            found = each.deltas[row].T @ each.inputs[row]
            torch.testing.assert_close(found, dense, rtol=1e-8, atol=1e-12)
            assert not each.deltas[row][~each.counts[row]].any()


def test_a_target_may_end_with_the_end_of_the_text() -> None:
    loaded = wrap_model("llama", *tiny_model("llama"))
    plain = target_row(loaded, LONG.text, LONG.target_new)
    ended = target_row(loaded, LONG.text, LONG.target_new, end_of_text=True)
    end = loaded.tokenizer.eos_token_id
    assert ended == TargetRow((*plain.ids, plain.target[-1]), (*plain.target, end))


def test_without_an_end_of_text_token_a_target_cannot_end_with_it() -> None:
    loaded = wrap_model("llama", *tiny_model("llama"))
    loaded.tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no end-of-text token"):
        target_row(loaded, LONG.text, LONG.target_new, end_of_text=True)
