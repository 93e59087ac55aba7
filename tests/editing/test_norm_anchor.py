"""The norm of v* in the unedited model, and the file that no other model may read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.config.value_options import ValueOptions
from editcore.datasets.readers import read_requests
from editcore.editing import norm_anchor
from editcore.editing.norm_anchor import NormAnchor, mlp_values
from editcore.errors import DataError
from editcore.keyvalue import prefixes
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_search import find_values
from editcore.models.hooks import recording
from editcore.models.loading import load_model, wrap_model
from editcore.planning.artefacts.anchors import AnchorJob
from editcore.planning.jobs import DatasetCases, DatasetSpec, ModelSpec
from editcore.records import provenance
from editcore.records.tensors import save_tensors
from editcore.runs import artefacts
from editcore.testing.models import tiny_model, tiny_requests
from tests.studies import record, write_json

MODEL = ModelSpec(name="tiny", source="models/tiny")
REQUESTS = tiny_requests()
FOUND = NormAnchor(torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64))


def test_the_mean_leaves_out_the_largest_share_rounded_down() -> None:
    anchor = NormAnchor(torch.arange(1, 31, dtype=torch.float64))
    assert anchor.mean() == 15.5
    assert anchor.mean(0.05) == 15.0  # one of 30
    assert anchor.mean(0.5) == 8.0


@pytest.mark.parametrize("kind", ["gpt2", "gptj", "llama"])
def test_the_value_of_a_block_is_what_is_left_of_its_target_without_the_rest(kind: str) -> None:
    """h + δ = r + v, with r the block's output minus its MLP's."""
    model, layer = wrap_model(kind, *tiny_model(kind)), 1
    given = find_values(model, REQUESTS, ("{}",), ValueOptions(layer=layer, site="block", steps=2))
    sound = [value for value in given if isinstance(value, Value)]
    found = mlp_values(model, REQUESTS, sound, ValueOptions(layer=layer, site="block"))
    for request, value, v in zip(REQUESTS, sound, found, strict=True):
        before, _, _ = request.text.partition(request.subject)
        ids = model.tokenizer(before + request.subject, return_tensors="pt")["input_ids"]
        with (
            torch.no_grad(),
            recording(model.parts.mlp(layer)) as mlp,
            recording(model.parts.block(layer)) as block,
        ):
            model.model(input_ids=ids)
        rest = block.output[0, -1] - mlp.output[0, -1]
        torch.testing.assert_close(rest + v, value.target, rtol=1e-4, atol=1e-4)


def test_the_value_of_an_mlp_is_its_target() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    value = Value(torch.ones(32), torch.full((32,), 2.0), 1, 0.0)
    found = mlp_values(model, REQUESTS[:1], [value], ValueOptions(layer=1))
    assert torch.equal(found, value.target[None])


def test_facts_without_a_value_are_left_out() -> None:
    model = wrap_model("llama", *tiny_model("llama"))
    value = Value(torch.zeros(32), torch.ones(32), 1, 0.0)
    values = ["no subject", value, "too long"]
    found = norm_anchor.measure(model, REQUESTS, values, ValueOptions(layer=1))
    assert found.norms.tolist() == pytest.approx([32**0.5])
    with pytest.raises(DataError, match=r"of the 1 facts of the norm anchor .the first: no s"):
        norm_anchor.measure(model, REQUESTS[:1], ["no subject"], ValueOptions(layer=1))


def test_it_is_read_as_written_and_refused_for_another_model_search_or_facts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "anchor.safetensors"
    norm_anchor.save(FOUND, path, MODEL, "0a1b", {})
    assert torch.equal(norm_anchor.load_for(MODEL, "0a1b", path).norms, FOUND.norms)
    for field in ("source", "revision", "dtype"):
        value = "bfloat16" if field == "dtype" else "other"
        other = MODEL.model_copy(update={field: value})
        with pytest.raises(DataError, match=r"is of the model models/tiny float32, not of"):
            norm_anchor.load_for(other, "0a1b", path)
    with pytest.raises(DataError, match="from other facts or with another search"):
        norm_anchor.load_for(MODEL, "ffff", path)


@pytest.mark.parametrize("norms", [torch.ones(0), torch.ones(2, 2), torch.tensor([torch.inf])])
def test_a_malformed_anchor_is_named(tmp_path: Path, norms: torch.Tensor) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors(path, {"norms": norms}, {"bound_to": MODEL.identity, "key": "k"})
    with pytest.raises(DataError, match=r"a\.safetensors contains no norm anchor"):
        norm_anchor.load_for(MODEL, "k", path)


def test_a_job_writes_the_norms_of_its_facts(
    saved_model: Callable[[str], Path], tmp_path: Path
) -> None:
    facts = write_json(tmp_path / "facts.json", [record(1, "Coral"), record(2, "Elro")])
    templates = ContextPrefixes(("{}", "I think. {}"), "tiny", 0)
    prefixes.save(templates, tmp_path / "prefixes.json")
    cases = DatasetCases(dataset=DatasetSpec(name="f", path=str(facts)), case_ids=(1, 2))
    job = AnchorJob(
        model=ModelSpec(name="tiny", source=str(saved_model("gpt2"))),
        prefixes=str(tmp_path / "prefixes.json"),
        sets=(cases,),
        options=ValueOptions(layer=1, steps=3, sampled_templates=0),
    )
    path = tmp_path / "anchor.safetensors"
    artefacts.write_anchor(job, path)
    found = norm_anchor.load_for(job.model, job.key.digest, path)
    values = find_values(
        load_model("tiny", job.model.source), read_requests(facts), ("{}",), job.options
    )
    expected = [float(value.target.norm()) for value in values if isinstance(value, Value)]
    assert found.norms.tolist() == pytest.approx(expected, rel=1e-5)
    assert provenance.read(path)["prefixes_hash"] == templates.hash
