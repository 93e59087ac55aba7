"""NAS gives v* the norm of the anchor, in whatever editor searches for v*."""

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from editcore_wrappers.config import NasConfig
from editcore_wrappers.nas import Nas

from editcore import Anchor, ConfigError, EditContext, load_registry, resolve_factory
from editcore.testing import EditorConformance, tiny_model, tiny_requests
from editcore.toolkit import ContextPrefixes, NormAnchor, SecondMoment, wrap_model

LAYER = 1
REQUESTS = tiny_requests()
OPTIONS: dict[str, dict[str, Any]] = {
    "rome": {"layer": LAYER, "steps": 3, "second_moment": False, "key_strategy": "unprefixed"},
    "memit": {"layers": [LAYER], "steps": 3, "moment_weight": 1e-4},
    "pmet": {"layers": [LAYER], "steps": 3, "moment_weight": 1e-4},
}


class TestNasAroundRome(EditorConformance):
    """All tests are inherited."""

    editor = "rome"
    kinds = ("gpt2", "gptj", "llama", "gemma2", "opt")
    options: ClassVar[dict[str, Any]] = {"layer": LAYER, "steps": 3}
    wrappers: ClassVar[dict[str, Any]] = {"nas": {}}


class TestNasAroundMemit(EditorConformance):
    """All tests are inherited."""

    editor = "memit"
    kinds = ("gpt2", "gptj", "llama", "gemma2", "opt")
    options: ClassVar[dict[str, Any]] = {"layers": (0, LAYER), "steps": 3}
    wrappers: ClassVar[dict[str, Any]] = {"nas": {}}


def context(kind: str, name: str) -> EditContext:
    model = wrap_model(kind, *tiny_model(kind))
    width = model.parts.down(LAYER).weight.numel() // 32
    moments = {LAYER: SecondMoment.from_matrix(LAYER, torch.eye(width), 9)}
    strategy = load_registry().key_strategies["unprefixed"].record.factory
    keys = resolve_factory(strategy) if name == "rome" else None
    return EditContext(model, ContextPrefixes(("{}",), kind, 0), moments, key_strategy=keys)


def nas(given: EditContext, name: str, rho: float, **options: Any) -> tuple[Nas, EditContext]:
    info = load_registry().editors[name].record
    config = info.config.model_validate(OPTIONS[name])
    own = NasConfig(**options)
    anchor = NormAnchor(torch.tensor([rho], dtype=torch.float64))
    around = Nas(resolve_factory(info.factory)(config), own)
    return around, replace(given, anchors={own.anchor(config): anchor})


def mlp_output(given: EditContext) -> torch.Tensor:
    """The MLP's output at the end of the first request's subject, in the model now."""
    model, seen = given.model, []
    ids = model.tokenizer(REQUESTS[0].text.partition(REQUESTS[0].subject)[0] + REQUESTS[0].subject)
    handle = model.parts.mlp(LAYER).register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        model.model(input_ids=torch.tensor([ids["input_ids"]]))
    handle.remove()
    (output,) = seen
    return output.reshape(-1, output.shape[-1])[-1]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_the_edited_mlp_s_output_has_the_norm_of_the_anchor(kind: str, name: str) -> None:
    """Keys are of the bare prompt, and C weighs little, so the solve reaches v*."""
    given = context(kind, name)
    for factor in (0.8, 1.5):
        around, plain = nas(given, name, 1.0)
        found = around.inner.edit(plain, REQUESTS[:1])
        assert found.delta is not None
        with found.delta.applied(given.model.model):
            reached = mlp_output(given)
        rho = factor * float(reached.norm())
        around, anchored = nas(given, name, rho)
        result = around.edit(anchored, REQUESTS[:1])
        assert result.delta is not None, result.status
        with result.delta.applied(given.model.model):
            scaled = mlp_output(given)
        assert float(scaled.norm()) == pytest.approx(rho, rel=1e-2)
        torch.testing.assert_close(scaled / rho, reached / reached.norm(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_value_far_above_the_anchor_is_not_written(name: str) -> None:
    given = context("llama", name)
    around, anchored = nas(given, name, 1e-3)
    for result in (
        around.edit(anchored, REQUESTS[:1]),
        next(around.edit_each(anchored, REQUESTS[:1])),
    ):
        assert result.status == "ok"
        assert result.delta is not None
        assert result.delta.norm() <= 1e-4
    written = nas(given, name, 1e-3, limit=1e9)
    change = written[0].edit(written[1], REQUESTS[:1]).delta
    assert change is not None
    assert change.norm() > 1e-2


def test_it_asks_for_the_anchor_of_the_editor_s_own_search() -> None:
    registry = load_registry()
    rome, memit, pmet, ft = (
        registry.editors[name].record.config.model_validate(options)
        for name, options in (*OPTIONS.items(), ("ft", {"layer": LAYER}))
    )
    (need,) = NasConfig().requires(rome)
    assert need == Anchor(rome.value_options(), 100, None)
    assert NasConfig(cases=20).anchor(memit) == Anchor(memit.value_options(), 20, None)
    assert memit.value_options().sampled_templates == 5
    assert NasConfig(templates="bare").anchor(memit).options.sampled_templates == 0
    assert NasConfig().anchor(pmet).options.site == "mlp"
    with pytest.raises(ConfigError, match="does not search for v"):
        NasConfig().requires(ft)
