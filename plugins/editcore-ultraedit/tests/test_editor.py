"""The statistics and the ridge solve are what their formulas give; state survives; errors."""

import re
from typing import Any, ClassVar

import pytest
import torch
from editcore_ultraedit.config import UltraEditConfig
from editcore_ultraedit.editor import TOO_FEW, UltraEditEditor, ridge
from editcore_ultraedit.statistics import Running
from pydantic import ValidationError

from editcore import EditContext, EditRequest, ModelError, RequestError
from editcore.testing import KINDS_BY_TRAIT, EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import DenseUpdate, LoadedModel, LowRankUpdate, wrap_model

LONG = EditRequest(5, "{} is based in", "Elro", "Tavel, Morvania", "Tavel")
REQUESTS = [*tiny_requests(), LONG]


class TestConformance(EditorConformance):
    editor = "ultraedit"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"maps": {"down": (0, 1)}, "learning_rate": 1e-2}


class TestConformanceAsReleased(EditorConformance):
    editor = "ultraedit"
    kinds = ("gpt2", "llama")
    options: ClassVar[dict[str, Any]] = {
        "maps": {"down": (0, 1)}, "learning_rate": 1e-2, "released_chunk": 2,
    }  # fmt: skip


def tiny(kind: str = "llama") -> LoadedModel:
    return wrap_model(kind, *tiny_model(kind))


def numbers(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("sizes", [[7], [1, 1, 5], [3, 4], [1] * 7])
def test_statistics_in_parts_are_those_of_all_rows(sizes: list[int]) -> None:
    rows = numbers(7, 5) * 3 + 2
    running = Running.empty(5, rows.device)
    for part in rows.split(sizes):
        running = running.extended(part)
    expected = (rows - rows.mean(0)) / rows.std(0)
    torch.testing.assert_close(running.normalised(rows), expected, rtol=1e-6, atol=1e-9)


def test_a_chunk_of_one_row_leaves_released_statistics_finite() -> None:
    rows = numbers(3, 5)
    running = Running.empty(5, rows.device).extended(rows[:2], as_released=True)
    running = running.extended(rows[2:], as_released=True)
    assert running.normalised(rows).isfinite().all()


@pytest.mark.parametrize(("count", "kind"), [(3, LowRankUpdate), (40, DenseUpdate)])
def test_the_solve_is_ridge_regression(count: int, kind: type) -> None:
    keys, wanted = numbers(count, 12), numbers(count, 9)
    update = ridge(keys, wanted)
    assert isinstance(update, kind)
    penalised = torch.cat([keys, torch.eye(12, dtype=keys.dtype)])
    targets = torch.cat([wanted, torch.zeros(12, 9, dtype=keys.dtype)])
    expected = torch.linalg.lstsq(penalised, targets).solution.T
    torch.testing.assert_close(update.dense(), expected, rtol=1e-9, atol=1e-12)


def test_the_exact_statistics_of_single_rows_differ_from_the_released_ones() -> None:
    maps = {"down": (0, 1)}
    context = EditContext(tiny())
    exact, released = (
        UltraEditEditor(UltraEditConfig(maps=maps, released_chunk=chunk)).edit(context, REQUESTS)
        for chunk in (None, 2)
    )
    name = "32x64"
    assert torch.equal(exact.state[f"{name}.count"], released.state[f"{name}.count"])
    keys = slice(0, 64)
    means = exact.state[f"{name}.mean"], released.state[f"{name}.mean"]
    torch.testing.assert_close(means[0][keys], means[1][keys])
    assert (released.state[f"{name}.m2"][keys] > exact.state[f"{name}.m2"][keys]).all()


def test_a_sequence_remembers_every_row_and_its_state_survives_saving() -> None:
    editor = UltraEditEditor(UltraEditConfig(maps={"down": (0, 1), "gate_proj": (1,)}))
    context = EditContext(tiny())
    first = editor.edit(context, REQUESTS[:2])
    saved = editor.load_state(context, editor.save_state(first.state))
    second = editor.edit(context, REQUESTS[2:], first.state)
    again = editor.edit(context, REQUESTS[2:], saved)
    together = editor.edit(context, REQUESTS)
    for name, tensor in together.state.items():
        torch.testing.assert_close(second.state[name], tensor, rtol=1e-6, atol=1e-12)
        assert torch.equal(second.state[name], again.state[name])
    for name, update in second.delta.updates.items():
        assert torch.equal(update.dense(), again.delta.updates[name].dense())


def test_an_edit_makes_the_targets_likelier() -> None:
    context = EditContext(tiny())
    editor = UltraEditEditor(UltraEditConfig(maps={"down": (0, 1)}, learning_rate=1e-3))
    before = editor.edit(context, REQUESTS)
    with before.delta.applied(context.model.model):
        after = editor.edit(context, REQUESTS)
    assert after.diagnostics["loss"] < before.diagnostics["loss"]


def test_a_single_row_is_too_few() -> None:
    request = tiny_requests()[0]
    result = UltraEditEditor(UltraEditConfig(maps={"down": (1,)})).edit(
        EditContext(tiny()), [request]
    )
    assert (result.delta, result.status) == (None, TOO_FEW)


def test_what_cannot_be_edited_is_refused() -> None:
    context = EditContext(tiny("gpt2"))
    with pytest.raises(ModelError, match=re.escape("no linear map 'gate_proj'; choose from")):
        UltraEditEditor(UltraEditConfig(maps={"gate_proj": (1,)})).edit(context, REQUESTS)
    with pytest.raises(RequestError, match="nothing to edit"):
        UltraEditEditor(UltraEditConfig(maps={"down": (1,)})).edit(context, [])
    for maps in ({}, {"down": ()}, {"down": (1, 1)}):
        with pytest.raises(ValidationError):
            UltraEditConfig(maps=maps)


@pytest.mark.parametrize(
    ("blocks", "layers"), [(28, list(range(18, 27))), (4, [1, 2]), (2, [0]), (1, [0])]
)
def test_defaults_for_a_depth_are_layers_of_the_model(blocks: int, layers: list[int]) -> None:
    config = UltraEditConfig(**UltraEditConfig.for_depth(blocks))
    assert list(config.edited_layers()) == layers
