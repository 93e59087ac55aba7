"""The sentence on what a change of weights looks like, for edits that other code made."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from editcore.models.loading import LoadedModel, load_model
from editcore.runs.adhoc.edited.shape import in_layers, sentence
from editcore.testing.models import KINDS_BY_TRAIT
from editcore.updates.saved.weight_difference import differences, paired_weights
from tests.edited_models import Tensors, added, edited_copy
from tests.golden_models import MEMIT, ROME

ModelSaver = Callable[..., Path]
DOWN, Q, V = "mlp.down_proj", "self_attn.q_proj", "self_attn.v_proj"


def weights(*parts: str, layers: tuple[int, ...] = (0, 1, 2)) -> list[str]:
    return [f"model.layers.{layer}.{part}.weight" for layer in layers for part in parts]


EDITS = {
    "RANK ONE: the only change is of rank one, in the down-projection of layer 1.": (
        weights(DOWN, layers=(1,)), 1),
    "LOW RANK: the only change is of rank 3, in the self_attn.q_proj of layer 2.": (
        weights(Q, layers=(2,)), 3),
    "DENSE IN ONE MAP: the only change is of rank 32, in the down-projection of layer 0.": (
        weights(DOWN, layers=(0,)), None),
    "LOW RANK IN 2 LAYERS: the down-projection of layers 1 and 2 changed by rank 4.": (
        weights(DOWN, layers=(1, 2)), 4),
    "LOW RANK IN 6 MAPS: the self_attn.q_proj and self_attn.v_proj of layers 0 to 2 changed by "
    "rank 2.": (weights(Q, V), 2),
    "LOW RANK IN 2 MAPS: the down-projection of layer 1 and lm_head changed by rank 1.": (
        [*weights(DOWN, layers=(1,)), "lm_head.weight"], 1),
    "DENSE IN ONE LAYER: 2 of 30 parameters changed, in layer 1.": (
        weights(DOWN, Q, layers=(1,)), None),
    "DENSE IN PART: 3 of 30 parameters changed, in layers 0 and 1 and lm_head.": (
        [*weights(DOWN, layers=(0, 1)), "lm_head.weight"], None),
    "DENSE EVERYWHERE: 3 of 30 parameters changed, in all 3 layers.": (weights(DOWN), None),
    "ONE VECTOR: the only change is in the input_layernorm of layer 1.": (
        weights("input_layernorm", layers=(1,)), None),
    "NO CHANGE: no weight differs.": ([], None),
}  # fmt: skip


@pytest.fixture(scope="module")
def llama(saved_model: ModelSaver) -> tuple[Path, LoadedModel]:
    folder = saved_model("llama")
    return folder, load_model("llama", str(folder))


def shape_of(base: Path, model: LoadedModel, edited: Path) -> str:
    found = [*differences(paired_weights(model.model, base, edited))]
    return sentence(found, model.anatomy, model.parts.depth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("words", EDITS)
def test_a_change_is_described(
    words: str, dtype: torch.dtype, llama: tuple[Path, LoadedModel], tmp_path: Path
) -> None:
    """With bfloat16, the edited model alone is stored so: its rounding is no change."""
    base, model = llama
    edited = edited_copy(base, tmp_path / "edited", added(*EDITS[words], size=0.3), dtype)
    assert shape_of(base, model, edited) == words


def test_numbers_that_are_not_finite_are_named(
    llama: tuple[Path, LoadedModel], tmp_path: Path
) -> None:
    names = weights(DOWN, Q)

    def spoil(tensors: Tensors) -> None:
        for name in names:
            tensors[name][0, :2] = float("nan")

    base, model = llama
    found = shape_of(base, model, edited_copy(base, tmp_path / "edited", spoil))
    assert found.startswith("NOT FINITE: 12 numbers of model.layers.0.")
    assert "and 3 other parameters are infinite or NaN" in found


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_papers_own_edits_are_recognised(family: str, tmp_path: Path) -> None:
    """ROME's rank-one edit and MEMIT's batch, as their released code computed them."""
    base = ROME / family / "model"
    model = load_model("golden", str(base))
    rome = load_file(ROME / family / "expected.safetensors")
    memit = load_file(MEMIT / family / "expected.safetensors")
    layers = json.loads((MEMIT / family / "expected.json").read_text())["layers"]
    facts = memit[f"batch.{layers[0]}.resid"].shape[1]

    def add(tensors: Tensors, layer: int, change: torch.Tensor) -> None:
        """Add ΔW of shape `d_out x d_in`, which GPT-2's layers store transposed."""
        name = model.parts.down_weight(layer)
        change = change.to(tensors[name].dtype)
        tensors[name] = tensors[name] + (change.T if family == "gpt2" else change)

    def one(tensors: Tensors) -> None:
        add(tensors, 2, torch.outer(rome["0.rome.v"], rome["0.rome.u"]))

    def batch(tensors: Tensors) -> None:
        for layer in layers:
            add(tensors, layer, memit[f"batch.{layer}.resid"] @ memit[f"batch.{layer}.adj_k"].T)

    by_rome = edited_copy(base, tmp_path / "rome", one)
    assert shape_of(base, model, by_rome) == (
        "RANK ONE: the only change is of rank one, in the down-projection of layer 2."
    )
    by_memit = edited_copy(base, tmp_path / "memit", batch)
    assert shape_of(base, model, by_memit) == (
        f"LOW RANK IN 2 LAYERS: the down-projection of {in_layers({*layers})} changed by rank "
        f"{facts}."
    )


@pytest.mark.parametrize("kind", [*KINDS_BY_TRAIT, "gpt-neox"])
def test_an_edit_is_recognised_in_models_of_each_trait(
    kind: str, saved_model: ModelSaver, tmp_path: Path
) -> None:
    base = saved_model(kind)
    model = load_model(kind, str(base))
    edited = edited_copy(base, tmp_path / "edited", added([model.parts.down_weight(1)], 1, 0.5))
    assert shape_of(base, model, edited) == (
        "RANK ONE: the only change is of rank one, in the down-projection of layer 1."
    )
