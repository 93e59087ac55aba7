"""A LoRA adapter changes a model exactly as the delta that it was made from."""

import json
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import nn

from editcore.errors import DataError, ModelError, PluginError
from editcore.models.anatomy import LINEAR
from editcore.testing.models import save_tiny_model, tiny_model
from editcore.updates.adapters import gguf_layout, peft_layout
from editcore.updates.adapters.base import Base, note, require_base
from editcore.updates.adapters.factors import LoraFactors, lora_factors
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate
from tests.gguf_files import gguf_tensors

# Conv1D, gated, parallel, ALiBi with a fused map, and normalised outputs.
FAMILIES = ("gpt2", "llama", "gptj", "bloom", "gemma2")
TEXT = "Coral is made by Elro, and Harbor by Osdor."


def maps_of(model: nn.Module, block: str) -> dict[str, tuple[int, int]]:
    """The weight of every linear map in a block, with the map's d_out and d_in."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, LINEAR) and f".{block}." in path:
            turned = not isinstance(module, nn.Linear)
            shape = tuple(module.weight.shape)
            found[f"{path}.weight"] = shape[::-1] if turned else shape
    return found


def every_map(model: nn.Module, block: str = "1", rank: int = 2) -> Delta:
    """A random change of every linear map in a block; the first of them has rank one."""
    draw = torch.Generator().manual_seed(1)
    updates = {}
    for name, (d_out, d_in) in maps_of(model, block).items():
        own = rank if updates else 1
        updates[name] = LowRankUpdate(
            torch.randn(d_out, own, generator=draw), 0.1 * torch.randn(d_in, own, generator=draw)
        )
    return Delta(updates)


def logits(model: Any, tokenizer: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**tokenizer(TEXT, return_tensors="pt")).logits


@pytest.mark.parametrize("kind", FAMILIES)
def test_loaded_by_peft_it_is_the_edit_and_unloaded_the_base(kind: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_model(kind)
    delta = every_map(model)
    assert len(delta.updates) >= 4
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    unedited = logits(model, tokenizer)
    with delta.applied(model):
        edited = logits(model, tokenizer)
    assert not torch.allclose(edited, unedited, atol=0.1)
    peft_layout.write_adapter(lora_factors(delta, model), tmp_path, model, "base")
    with peft_layout.adapted(model, tmp_path):
        assert torch.allclose(logits(model, tokenizer), edited, atol=1e-5 * edited.abs().max())
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert torch.equal(logits(model, tokenizer), unedited)


@pytest.mark.parametrize("kind", FAMILIES)
def test_merged_by_peft_its_logits_are_those_of_the_edit(kind: str, tmp_path: Path) -> None:
    model, tokenizer = tiny_model(kind)
    delta = every_map(model)
    with delta.applied(model):
        edited = logits(model, tokenizer)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    peft_layout.write_adapter(lora_factors(delta, model), tmp_path, model, "base")
    with peft_layout.adapted(model, tmp_path) as loaded:
        with peft_layout.merged(loaded):
            torch.testing.assert_close(logits(model, tokenizer), edited, rtol=0, atol=1e-5)
        beside = logits(model, tokenizer)
        assert torch.allclose(beside, edited, atol=1e-5 * edited.abs().max())
    after = model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    merged = PeftModel.from_pretrained(model, tmp_path).merge_and_unload()
    torch.testing.assert_close(logits(merged, tokenizer), edited, rtol=0, atol=1e-5)


def test_a_merged_adapter_is_taken_out_also_after_an_error(tmp_path: Path) -> None:
    model, _ = tiny_model("llama")
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    delta = every_map(model)
    peft_layout.write_adapter(lora_factors(delta, model), tmp_path, model, "base")
    with (
        peft_layout.adapted(model, tmp_path) as loaded,
        pytest.raises(RuntimeError, match="in the block"),
        peft_layout.merged(loaded),
    ):
        inside = {name: weight.clone() for name, weight in model.state_dict().items()}
        raise RuntimeError("in the block")
    for name in delta.updates:
        assert not torch.equal(inside[name.replace(".weight", ".base_layer.weight")], before[name])
    after = model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_all_maps_have_one_rank_and_no_pattern_of_ranks(tmp_path: Path) -> None:
    model, _ = tiny_model("llama")
    delta = every_map(model)
    factors = lora_factors(delta, model)
    peft_layout.write_adapter(factors, tmp_path, model, "base")
    config = json.loads((tmp_path / peft_layout.CONFIG).read_text())
    assert (config["r"], config["lora_alpha"]) == (2, 2)
    assert (config["rank_pattern"], config["alpha_pattern"], config["bias"]) == ({}, {}, "none")
    assert config["target_modules"] == sorted(factors.paths)
    for name, tensor in load_file(tmp_path / peft_layout.WEIGHTS).items():
        assert tensor.shape[0 if name.endswith("lora_A.weight") else 1] == 2
    for name, update in delta.updates.items():
        assert torch.equal(factors.updates[name].dense(), update.dense()), "zeros add nothing"


def test_equal_edits_give_equal_bytes(tmp_path: Path) -> None:
    model, _ = tiny_model("llama")
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        peft_layout.write_adapter(lora_factors(every_map(model), model), folder, model, "base")
        written.append([file.read_bytes() for file in sorted(folder.iterdir())])
    assert written[0] == written[1]


DOWN = "model.layers.1.mlp.down_proj.weight"


def dense(model: nn.Module) -> Delta:
    shape = model.get_parameter(DOWN).shape
    return Delta(
        {DOWN: DenseUpdate(torch.randn(shape, generator=torch.Generator().manual_seed(0)))}
    )


def test_a_dense_change_becomes_its_best_approximation_and_the_error_is_known() -> None:
    model, _ = tiny_model("llama")
    delta = dense(model)
    change = delta.updates[DOWN].dense()
    values = torch.linalg.svdvals(change.double())
    for rank in (1, 5, len(values)):
        factors = lora_factors(delta, model, rank)
        lost = values[rank:].norm() / values.norm()
        assert factors.rank == rank
        assert factors.error == pytest.approx(float(lost), abs=1e-6)
        off = (factors.updates[DOWN].dense() - change).norm() / change.norm()
        assert float(off) == pytest.approx(factors.error, abs=1e-6)
    beyond = lora_factors(delta, model, 10 * len(values))
    assert beyond.rank == len(values)


def test_a_low_rank_change_is_reduced_only_if_its_rank_is_higher() -> None:
    model, _ = tiny_model("llama")
    delta = every_map(model, rank=3)
    assert lora_factors(delta, model, 3).error == 0
    reduced = lora_factors(delta, model, 1)
    assert reduced.rank == 1
    assert 0 < reduced.error < 1


def test_what_no_adapter_can_hold_is_refused() -> None:
    model, _ = tiny_model("gpt2")
    bias, embedding = "transformer.h.0.mlp.c_proj.bias", "transformer.wte.weight"
    for name in (bias, embedding):
        delta = Delta({name: DenseUpdate(torch.ones(model.get_parameter(name).shape))})
        with pytest.raises(DataError, match=f"changes {name}, and a LoRA adapter changes only"):
            lora_factors(delta, model, 1)
    llama, _ = tiny_model("llama")
    with pytest.raises(DataError, match=r"whole matrix, not of low rank; give --rank R"):
        lora_factors(dense(llama), llama)
    with pytest.raises(DataError, match="changes no weights"):
        lora_factors(Delta({}), llama)
    with pytest.raises(DataError, match="not finite"):
        lora_factors(Delta({DOWN: dense(llama).updates[DOWN].scaled(float("nan"))}), llama, 1)
    with pytest.raises(PluginError, match="which the model does not have"):
        lora_factors(dense(llama), model, 1)


def test_it_is_refused_for_another_base(tmp_path: Path) -> None:
    folder = save_tiny_model("llama", tmp_path / "model")
    other = save_tiny_model("llama", tmp_path / "other", seed=1)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    with pytest.raises(DataError, match=r"editcore\.json"):
        require_base(adapter, "own", folder)
    note(adapter, Base.of("own", folder), {})
    assert require_base(adapter, "moved", folder) == Base.of("moved", folder)
    with pytest.raises(ModelError, match="is an adapter for another base: for own, whose weights"):
        require_base(adapter, "other", other)


def test_the_base_is_the_same_however_its_files_are_divided(tmp_path: Path) -> None:
    model, tokenizer = tiny_model("llama")
    for name, size in (("whole", "5GB"), ("parts", "50KB")):
        model.save_pretrained(tmp_path / name, max_shard_size=size)
        tokenizer.save_pretrained(tmp_path / name)
    assert len([*(tmp_path / "parts").glob("*.safetensors")]) > 1
    whole, parts = (Base.of(name, tmp_path / name).sha256 for name in ("whole", "parts"))
    assert whole == parts


def written_for_llama_cpp(
    kind: str, tmp_path: Path, keep: tuple[str, ...]
) -> tuple[Any, Delta, LoraFactors, Base]:
    """An adapter of the maps in block 1 whose names end so, in `tmp_path`."""
    base = Base.of("tiny", save_tiny_model(kind, tmp_path / "model"))
    model, _ = tiny_model(kind)
    updates = every_map(model).updates
    delta = Delta(
        {n: u for n, u in updates.items() if n.endswith(tuple(f"{k}.weight" for k in keep))}
    )
    assert len(delta.updates) == len(keep)
    factors = lora_factors(delta, model)
    gguf_layout.write_adapter(factors, tmp_path, base)
    return model, delta, factors, base


PLAIN = ("v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.mark.parametrize(
    ("kind", "keep"), [("llama", PLAIN), ("qwen2", (*PLAIN, "q_proj", "k_proj"))]
)
def test_llama_cpp_adds_to_the_models_gguf_tensors_what_the_edit_changes_in_them(
    kind: str, keep: tuple[str, ...], tmp_path: Path
) -> None:
    model, delta, _, _ = written_for_llama_cpp(kind, tmp_path, keep)
    before = {name: tensor.copy() for name, tensor in gguf_tensors(kind, model).items()}
    with delta.applied(model):
        after = {name: tensor.copy() for name, tensor in gguf_tensors(kind, model).items()}
    reader = gguf.GGUFReader(tmp_path / gguf_layout.FILE)
    adapter = {tensor.name: tensor.data for tensor in reader.tensors}
    alpha = reader.get_field("adapter.lora.alpha").contents()
    changed = [name for name in before if (before[name] != after[name]).any()]
    assert {name.rpartition(".")[0] for name in adapter} == {*changed}
    for name in changed:
        a, b = adapter[f"{name}.lora_a"], adapter[f"{name}.lora_b"]
        scale = alpha / len(a)
        assert scale == 1
        assert abs(before[name] + scale * (b @ a) - after[name]).max() < 1e-6


def test_its_header_is_that_of_an_adapter_and_names_the_base(tmp_path: Path) -> None:
    _, _, factors, base = written_for_llama_cpp("gpt2", tmp_path, ("mlp.c_proj", "c_attn"))
    reader = gguf.GGUFReader(tmp_path / gguf_layout.FILE)
    fields = {"general.architecture": "gpt2", "general.type": "adapter", "adapter.type": "lora"}
    for name, value in fields.items():
        assert reader.get_field(name).contents() == value
    assert json.loads(reader.get_field("editcore.base").contents()) == base.as_dict()
    names = gguf_layout.tensor_names(factors, base.folder)
    assert set(names.values()) == {"blk.1.ffn_down.weight", "blk.1.attn_qkv.weight"}
    again = gguf_layout.read_adapter(tmp_path / gguf_layout.FILE, names)
    for name, update in factors.updates.items():
        assert torch.equal(again.updates[name].dense(), update.dense())


@pytest.mark.parametrize(
    ("kind", "ending", "reason"),
    [
        ("llama", "q_proj.weight", "keeps the rows of .*q_proj.weight in another order"),
        ("bloom", "query_key_value.weight", "keeps the rows of .* in another order"),
        ("opt", "fc2.weight", "this one is of type 'opt'"),
    ],
)
def test_maps_that_llama_cpp_reorders_or_does_not_know_are_refused(
    kind: str, ending: str, reason: str, tmp_path: Path
) -> None:
    folder = save_tiny_model(kind, tmp_path / "model")
    model, _ = tiny_model(kind)
    updates = every_map(model).updates
    delta = Delta({name: update for name, update in updates.items() if name.endswith(ending)})
    with pytest.raises(ModelError, match=reason):
        gguf_layout.tensor_names(lora_factors(delta, model), folder)
