"""The search moves both outputs and ends by its own rule; the change is of the MLPs alone."""

from dataclasses import replace

import pytest
import torch
from editcore_pmet.config import PmetConfig
from editcore_pmet.editor import PmetEditor
from editcore_pmet.search import PairSearch
from pydantic import ValidationError

from editcore.testing import tiny_context, tiny_requests
from editcore.toolkit import pose, recording

LAYERS = (0, 1)
REQUESTS = tiny_requests()
TEMPLATES = ("{}", "I think. {}")
# The map that gives attention's output, in a block of each kind.
ATTENTION = {
    "gpt2": "attn.c_proj",
    "gptj": "attn.out_proj",
    "llama": "self_attn.o_proj",
    "opt": "self_attn.out_proj",
    "bloom": "self_attention.dense",
}


def config(**options: float) -> PmetConfig:
    return PmetConfig(layers=LAYERS, **{"moment_weight": 1e-6, "steps": 3, **options})


@pytest.mark.parametrize("kind", ATTENTION)
def test_attention_s_output_is_found(kind: str) -> None:
    given = tiny_context(kind, TEMPLATES)
    search = PairSearch(given.model, pose(given.model, REQUESTS[0], TEMPLATES), 1)
    assert search._attention is given.model.parts.block(1).get_submodule(ATTENTION[kind])


@pytest.mark.parametrize("kind", ["gpt2", "gptj", "llama"])
def test_the_last_layer_moves_the_mlp_s_output_towards_what_was_found(kind: str) -> None:
    """In the direction of what is missing after the layers below; attention stays as it was."""
    given, editing = tiny_context(kind, TEMPLATES), PmetEditor(config())
    (value,) = editing.values(given, REQUESTS[:1])
    delta = editing.edit(given, REQUESTS[:1]).delta
    assert set(delta.updates) == {given.model.parts.down_weight(layer) for layer in LAYERS}
    prompt = pose(given.model, REQUESTS[0], TEMPLATES).prompts[0]
    with delta.applied(given.model.model), torch.no_grad():
        with recording(given.model.parts.down(1)) as seen:
            given.model.model(torch.tensor([prompt.ids]))
        key = seen.input[0, prompt.subject]
    last = delta.updates[given.model.parts.down_weight(1)]
    moved = last.dense() @ key
    wanted = value.target - (seen.output[0, prompt.subject] - moved)
    assert torch.cosine_similarity(moved, wanted, 0) > 0.999


def test_a_layer_takes_its_share_by_the_square_root() -> None:
    assert [PmetEditor(config()).divisor(left) for left in (1, 4)] == [1, 2]


def test_it_stops_once_all_templates_agree_and_little_else_moved() -> None:
    given = tiny_context(templates=TEMPLATES)
    ends_there = pose(given.model, replace(REQUESTS[0], prompt="{}"), TEMPLATES)
    unbound = {"steps": 30, "clamp_norm_factor": 9, "weight_decay": 0, "stop_loss": 0}
    steps = [
        PairSearch(given.model, ends_there, 1).run(config(**unbound, stop_kl=stop)).steps
        for stop in (1e9, 0)
    ]
    assert steps[0] < steps[1] == 30


def test_a_loss_that_is_not_finite_is_a_reason() -> None:
    given = tiny_context(templates=TEMPLATES)
    with torch.no_grad():
        given.model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    result = PmetEditor(config()).edit(given, REQUESTS[:1])
    assert result.delta is None and "non-finite loss" in result.status


def test_another_stopping_rule_is_refused() -> None:
    with pytest.raises(ValidationError, match="leave agreement_steps out"):
        config(agreement_steps=2)
