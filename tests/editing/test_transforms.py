"""A transform changes any editor's weight change before it is measured, or fails its case."""

from pathlib import Path

import polars as pl
import pytest
import torch

from editcore import EditResult, TransformConfig
from editcore.editing.transforms import BoundTransform, TransformResult, bind, transformed
from editcore.editing.transforms.norm_cap import NormCapConfig, norm_cap
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    EditorSpec,
    ModelSpec,
    PerplexitySpec,
    TransformSpec,
)
from editcore.registry.registry import load_registry
from editcore.runs import edit
from editcore.testing.models import tiny_model
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, load_deltas
from tests.studies import write_data

LOW, DENSE = "model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return wrap_model("llama", *tiny_model("llama"))


def delta_of(model: LoadedModel, size: float) -> Delta:
    d_out, d_in = model.model.get_parameter(LOW).shape
    generator = torch.Generator().manual_seed(0)
    low = LowRankUpdate(
        torch.randn(d_out, 2, generator=generator), torch.randn(d_in, 2, generator=generator)
    )
    dense = DenseUpdate(torch.randn(d_out, d_in, generator=generator))
    return Delta({LOW: low.scaled(size / low.norm()), DENSE: dense.scaled(size / dense.norm())})


def test_a_capped_update_has_the_size_and_direction_asked_for(model: LoadedModel) -> None:
    delta = delta_of(model, size=100.0)
    capped = norm_cap(delta, model, NormCapConfig(ratio=0.1))
    for name, update in delta.updates.items():
        found = capped.updates[name]
        assert type(found) is type(update)
        weight = float(model.model.get_parameter(name).norm())
        assert found.norm() == pytest.approx(0.1 * weight, rel=1e-5)
        cosine = torch.nn.functional.cosine_similarity(
            found.dense().flatten(), update.dense().flatten(), dim=0
        )
        assert float(cosine) == pytest.approx(1.0, abs=1e-6)


def test_an_update_within_the_bound_keeps_its_bits(model: LoadedModel) -> None:
    small = delta_of(model, size=1e-3)
    capped = norm_cap(small, model, NormCapConfig(ratio=0.1))
    assert all(capped.updates[name] is update for name, update in small.updates.items())
    assert norm_cap(Delta({}), model, NormCapConfig(ratio=0.1)) == Delta({})


def test_infinity_stays_visible_under_a_cap(model: LoadedModel) -> None:
    delta = delta_of(model, size=1.0)
    delta.updates[DENSE].dense()[0, 0] = torch.inf
    assert not norm_cap(delta, model, NormCapConfig(ratio=0.1)).finite()


def halve(delta: Delta, _: LoadedModel, __: TransformConfig) -> Delta:
    return Delta({name: update.scaled(0.5) for name, update in delta.updates.items()})


def fail(delta: Delta, _: LoadedModel, __: TransformConfig) -> Delta:
    raise ZeroDivisionError("no such direction")


def test_transforms_are_applied_in_order(model: LoadedModel) -> None:
    cap = BoundTransform("norm-cap", norm_cap, NormCapConfig(ratio=0.1))
    half = BoundTransform("halve", halve, TransformConfig())
    result = EditResult(delta_of(model, 100.0), diagnostics={"steps": 3})
    one = transformed(result, [cap, half], model)
    other = transformed(result, [half, cap], model)
    assert other.delta.norm() == pytest.approx(2 * one.delta.norm(), rel=1e-5)
    assert one.diagnostics == result.diagnostics


def test_numbers_of_transforms_join_the_editors_and_overwrite_none(model: LoadedModel) -> None:
    def telling(delta: Delta, _: LoadedModel, __: TransformConfig) -> TransformResult:
        return TransformResult(delta, {"cut": 2.0, "loss": 7.0, "denominator": 1.0})

    bound = BoundTransform("telling", telling, TransformConfig())
    half = BoundTransform("halve", halve, TransformConfig())
    result = EditResult(delta_of(model, 1.0), diagnostics={"steps": 3, "loss": 0.1})
    found = transformed(result, [half, bound, half], model)
    assert found.diagnostics == {
        "steps": 3,
        "loss": 0.1,
        "cut": 2.0,
        "telling.loss": 7.0,
        "telling.denominator": 1.0,
    }
    assert found.delta.norm() == pytest.approx(result.delta.norm() / 4, rel=1e-5)


def test_a_transform_that_reports_no_number_fails_only_its_case(model: LoadedModel) -> None:
    def odd(delta: Delta, _: LoadedModel, __: TransformConfig) -> TransformResult:
        return TransformResult(delta, {"cut": "all"})  # type: ignore[dict-item]

    bound = BoundTransform("odd", odd, TransformConfig())
    result = transformed(EditResult(delta_of(model, 1.0)), [bound], model)
    assert result.delta is None
    assert result.status.startswith("transform odd: it reports the diagnostic 'cut', which is not")


def test_a_transform_that_raises_fails_only_its_case(model: LoadedModel) -> None:
    bad = BoundTransform("bad", fail, TransformConfig())
    result = transformed(EditResult(delta_of(model, 1.0)), [bad, bad], model)
    assert result.delta is None
    assert result.status == "transform bad: ZeroDivisionError: no such direction"
    refused = EditResult(None, "no such subject")
    assert transformed(refused, [bad], model) == refused


def test_a_study_measures_the_transformed_change(tmp_path: Path) -> None:
    from editcore.testing.models import save_tiny_model

    write_data(tmp_path)
    cap = TransformSpec(uses="norm-cap", options={"ratio": 0.02})
    options = {"layer": 1, "steps": 2, "learning_rate": 0.1}
    job = EditJob(
        model=ModelSpec(name="tiny", source=str(save_tiny_model("llama", tmp_path / "model"))),
        editor=EditorSpec(label="e", uses="ft-unconstrained", options=options, transforms=(cap,)),
        dataset=DatasetSpec(name="facts", path=str(tmp_path / "data" / "facts.json")),
        shard=0,
        case_ids=(10,),
        perplexity=PerplexitySpec(path=str(tmp_path / "data" / "texts.json"), texts=2),
        metrics=("accuracy",),
        seed=0,
    )
    edit.run(job, tmp_path / "rows.parquet", tmp_path / "deltas.safetensors")
    (row,) = pl.read_parquet(tmp_path / "rows.parquet").to_dicts()
    assert row["status"] == "ok"
    assert row["delta_norm"] == pytest.approx(0.02 * row["weight_norm"], rel=1e-5)
    saved = load_deltas(tmp_path / "deltas.safetensors")[10]
    assert saved.norm() == pytest.approx(row["delta_norm"], rel=1e-6)


def test_a_job_names_what_is_bound() -> None:
    specs = [TransformSpec(uses="norm-cap", options={"ratio": 0.5})]
    (bound,) = bind(specs, load_registry())
    assert bound == BoundTransform("norm-cap", norm_cap, NormCapConfig(ratio=0.5))
