"""An exported edit is proved to be the edited model, or nothing is left of it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import Linear
from transformers import AutoModelForCausalLM

from editcore.datasets.bundled import bundled_models, resources_folder
from editcore.models.gguf import converted
from editcore.runs.adhoc.export import run as exporting
from editcore.sources.places import gguf_file
from editcore.updates.adapters import gguf_layout, peft_layout
from editcore.updates.adapters.base import Base
from editcore.updates.adapters.factors import LoraFactors
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, save_deltas
from tests.command_line import done, refused, run
from tests.model_folders import contents, sharded, write_delta
from tests.smollm2 import fetched
from tests.updates.test_adapters import FAMILIES, every_map

ModelSaver = Callable[..., Path]
ROOT = resources_folder()
assert ROOT is not None
TEXTS = ROOT / "world" / "perplexity.json"
DOWN = "transformer.h.1.mlp.c_proj.weight"


def left(folder: Path) -> set[str]:
    """What is in a folder, hidden names too."""
    return {file.name for file in folder.iterdir()}


def save(path: Path, *deltas: Delta) -> Path:
    """Deltas of cases 0, 1, …, with the texts on which check would have measured them."""
    job = {"perplexity": {"path": str(TEXTS), "texts": 2}}
    save_deltas(dict(enumerate(deltas)), path, {"job": json.dumps(job)})
    return path


def rank_one(size: float = 1.0, seed: int = 0) -> Delta:
    """A change of one map of tiny-gpt2."""
    model = AutoModelForCausalLM.from_pretrained(bundled_models()["tiny-gpt2"])
    d_in, d_out = model.get_parameter(DOWN).shape
    draw = torch.Generator().manual_seed(seed)
    outputs, inputs = (torch.randn(n, 1, generator=draw) for n in (d_out, d_in))
    return Delta({DOWN: LowRankUpdate(size * outputs / 10, inputs / 10)})


@pytest.fixture
def edit(tmp_path: Path) -> Path:
    """An edit of tiny-gpt2, which has Conv1D."""
    return save(tmp_path / "edit.safetensors", rank_one())


def test_an_adapter_is_proved_and_names_its_base(edit: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    printed = done("export", edit, "tiny-gpt2", "--format", "peft", "--out", out)
    assert "loaded again with peft, no logit at" in printed
    assert "as with the edit in the weights; unloaded, the base has its own weights" in printed
    files = {"README.md", "adapter_config.json", "adapter_model.safetensors", "editcore.json"}
    assert left(out) == files
    note = json.loads((out / "editcore.json").read_text())
    assert note["base"] == Base.of("tiny-gpt2", bundled_models()["tiny-gpt2"]).as_dict()
    assert note["proof"]["grade"] in ("sound", "damaged", "collapsed")
    assert note["proof"]["difference"] <= 1e-5 * max(1, note["proof"]["largest"])
    assert note["proof"]["merged"] == 0
    assert "and none at all once peft has merged it into the weights" in printed
    card = (out / "README.md").read_text()
    assert "- Grade: unknown" in card
    assert note["base"]["weights_sha256"] in card
    assert "is for tiny-gpt2" in done("fits", out, "tiny-gpt2")
    assert "for another base: for tiny-gpt2" in refused("fits", out, "tiny-llama")
    assert "already exists" in refused(
        "export", edit, "tiny-gpt2", "--format", "peft", "--out", out
    )


@pytest.mark.parametrize("kind", FAMILIES)
def test_every_linear_map_of_five_families_is_proved(
    kind: str, saved_model: ModelSaver, tmp_path: Path
) -> None:
    folder = saved_model(kind)
    model = AutoModelForCausalLM.from_pretrained(folder)
    file = save(tmp_path / "edit.safetensors", every_map(model))
    printed = done("export", file, folder, "--format", "peft", "--out", tmp_path / "adapter")
    assert "the grade is" in printed
    assert "bit by bit" in printed


def test_each_case_is_an_adapter_of_its_own(tmp_path: Path) -> None:
    file = save(tmp_path / "edits.safetensors", rank_one(seed=1), rank_one(seed=2))
    given = (file, "tiny-gpt2", "--format", "gguf-lora", "--out", tmp_path / "out")
    assert "choose one with --case: 0, 1" in refused("export", *given)
    printed = done("export", *given, "--each")
    assert printed.count("ΔW is that of the adapter, bit by bit") == 2
    assert left(tmp_path / "out") == {"case-0", "case-1"}
    adapters = [(tmp_path / "out" / f"case-{i}" / gguf_layout.FILE).read_bytes() for i in (0, 1)]
    assert adapters[0] != adapters[1]
    shutil.rmtree(tmp_path / "out")
    done("export", *given, "--case", 1)
    assert (tmp_path / "out" / gguf_layout.FILE).read_bytes() == adapters[1]


def test_a_dense_change_needs_a_rank_and_a_loss_of_grade_is_refused(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(bundled_models()["tiny-gpt2"])
    d_in, d_out = model.get_parameter(DOWN).shape
    change = torch.randn(d_out, d_in, generator=torch.Generator().manual_seed(0))
    small = save(tmp_path / "small.safetensors", Delta({DOWN: DenseUpdate(change / 1e4)}))
    large = save(tmp_path / "large.safetensors", Delta({DOWN: DenseUpdate(change)}))
    out = tmp_path / "out"
    to = ("tiny-gpt2", "--format", "peft", "--out", out)
    assert "give --rank R for the closest adapter" in refused("export", small, *to)
    error = refused("export", large, *to, "--rank", 1)
    assert "its grade is damaged, and the edited model's is collapsed" in error
    assert left(tmp_path) == {"small.safetensors", "large.safetensors"}
    assert "‖ΔW − BA‖ is" in done("export", small, *to, "--rank", 4)
    assert 0 < json.loads((out / "editcore.json").read_text())["proof"]["error"] < 1


def test_a_model_has_the_bytes_that_apply_writes_and_a_card(tmp_path: Path) -> None:
    source = sharded(tmp_path / "model")
    (source / "README.md").write_text("of the source\n")
    delta = write_delta(tmp_path / "delta.safetensors")
    printed = done("export", delta, source, "--format", "model", "--out", tmp_path / "edited")
    assert "2 weights of" in printed
    assert "those that `editcore apply` writes" in printed
    done("apply", delta, source, "--out", tmp_path / "applied")
    exported, applied = contents(tmp_path / "edited"), contents(tmp_path / "applied")
    weights = [name for name in applied if name.endswith("safetensors") and "/" not in name]
    assert len(weights) > 1
    assert all(exported[name] == applied[name] for name in weights)
    assert exported["README-unedited.md"] == b"of the source\n"
    assert "# " in exported["README.md"].decode()
    done("revert", tmp_path / "edited")
    assert all(contents(tmp_path / "edited")[name] == contents(source)[name] for name in weights)


def wrong_for_peft(factors: LoraFactors, *rest: Any) -> None:
    updates = {name: update.scaled(1.01) for name, update in factors.updates.items()}
    write_peft(replace(factors, updates=updates), *rest)


def wrong_for_gguf(factors: LoraFactors, *rest: Any) -> None:
    updates = {name: update.scaled(1.01) for name, update in factors.updates.items()}
    write_gguf(replace(factors, updates=updates), *rest)


write_peft, write_gguf = peft_layout.write_adapter, gguf_layout.write_adapter


def test_what_is_not_the_edit_is_not_kept_and_the_error_has_the_difference(
    edit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peft_layout, "write_adapter", wrong_for_peft)
    monkeypatch.setattr(gguf_layout, "write_adapter", wrong_for_gguf)
    for kind, error in (("peft", "a logit differs by"), ("gguf-lora", "differs by")):
        to = ("--format", kind, "--out", tmp_path / "out")
        assert error in refused("export", edit, "tiny-gpt2", *to)
        assert left(tmp_path) == {edit.name}


def test_an_adapter_that_merges_into_other_weights_is_not_kept(
    edit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(layer: Linear, name: str) -> torch.Tensor:
        return own(layer, name) / 2

    own = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", half)
    to = ("tiny-gpt2", "--format", "peft", "--out", tmp_path / "out")
    error = refused("export", edit, *to)
    assert "the adapter, merged by peft, is not the edit: a logit differs by" in error
    assert left(tmp_path) == {edit.name}


def test_nothing_is_left_if_the_disk_is_full_or_the_process_stops(
    edit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = ("tiny-gpt2", "--format", "gguf-lora", "--out", tmp_path / "out")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting, "note", full)
    assert "out cannot be written (No space left on device)" in refused("export", edit, *to)
    monkeypatch.setattr(exporting, "note", stop)
    assert run("export", edit, *to).exit_code == 130
    assert left(tmp_path) == {edit.name}


def test_without_peft_a_sentence_says_what_to_install(
    edit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    error = refused("export", edit, "tiny-gpt2", "--format", "peft", "--out", tmp_path / "out")
    assert "install editcore[export]" in error


def test_a_file_without_weight_changes_has_nothing_to_export(tmp_path: Path) -> None:
    none = save(tmp_path / "none.safetensors")
    unchanged = save(tmp_path / "unchanged.safetensors", Delta({}))
    for kind in ("peft", "model", "gguf-lora"):
        to = ("tiny-gpt2", "--format", kind, "--out", tmp_path / "out")
        assert "contains no weight change" in refused("export", none, *to)
        assert "so there is nothing to export" in refused("export", unchanged, *to)


def test_an_edit_of_smollm2_is_an_adapter_for_peft_and_for_llama_cpp(tmp_path: Path) -> None:
    source = fetched()
    file = gguf_file(source)
    assert file is not None
    model = AutoModelForCausalLM.from_pretrained(converted(file))
    name = "model.layers.12.mlp.down_proj.weight"
    d_out, d_in = model.get_parameter(name).shape
    draw = torch.Generator().manual_seed(0)
    factors = (torch.randn(n, 1, generator=draw) / 10 for n in (d_out, d_in))
    edit = save(tmp_path / "edit.safetensors", Delta({name: LowRankUpdate(*factors)}))
    for kind in ("peft", "gguf-lora"):
        out = tmp_path / kind
        assert "bit by bit" in done("export", edit, source, "--format", kind, "--out", out)
        assert "is for wheel:" in done("fits", out, source)
    proof = json.loads((tmp_path / "peft" / "editcore.json").read_text())["proof"]
    assert proof["merged"] <= 1e-5
