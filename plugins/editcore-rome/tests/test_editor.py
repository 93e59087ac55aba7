"""The editors' requirements and updates, and requests that cannot be carried out."""

import pytest
import torch
from editcore_rome.config import CRomeConfig, PRomeConfig, RomeConfig
from editcore_rome.editor import RomeEditor
from pydantic import ValidationError

from editcore import (
    EditContext,
    EditRequest,
    Keys,
    Moments,
    Prefixes,
    RequestError,
    ValueOptions,
    Values,
    load_registry,
    resolve_factory,
)
from editcore.testing import KINDS, tiny_model, tiny_requests
from editcore.toolkit import (
    ContextPrefixes,
    SecondMoment,
    wrap_model,
)

LAYER = 1


def context(kind: str, strategy: str = "mixed") -> EditContext:
    model = wrap_model(kind, *tiny_model(kind))
    width = model.parts.down(LAYER).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    moment = SecondMoment.from_matrix(LAYER, samples.T @ samples / len(samples), len(samples))
    templates = ("{}", "Therefore. {}", "I think. {}")
    prefixes = ContextPrefixes(templates, kind, 0)
    keys = resolve_factory(load_registry().key_strategies[strategy].record.factory)
    return EditContext(model, prefixes, {LAYER: moment}, key_strategy=keys)


def test_options_ask_for_their_artefacts() -> None:
    values = Values(ValueOptions(layer=3))
    assert RomeConfig(layer=3).requires() == (Prefixes(), values, Keys("mixed"), Moments(3))
    alone = CRomeConfig(layer=3, second_moment=False)
    assert alone.requires() == (Prefixes(), values, Keys("prefixed"))
    assert CRomeConfig(layer=3).value_options() == RomeConfig(layer=3).value_options()
    assert RomeConfig(layer=3).edited_layers() == (3,)


def test_what_makes_an_editor_itself_cannot_be_changed() -> None:
    assert CRomeConfig(layer=0).key_strategy == "prefixed"
    with pytest.raises(ValidationError):
        CRomeConfig(layer=0, key_strategy="mixed")
    with pytest.raises(ValidationError):
        RomeConfig(layer=0, lr=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("config", [RomeConfig, CRomeConfig, PRomeConfig])
def test_the_norm_of_the_update_is_numerator_over_denominator(kind: str, config) -> None:
    """ΔW = (v* − W k_s) uᵀ / (uᵀk_s) with ‖u‖ = 1, on every architecture."""
    editor = RomeEditor(config(layer=LAYER, steps=3))
    given = context(kind, editor.config.key_strategy)
    request = tiny_requests()[0]
    result = editor.edit(given, [request])
    ((name, update),) = result.delta.updates.items()
    assert name == given.model.parts.down_weight(LAYER)
    added = update.norm()
    wanted = result.diagnostics["numerator_norm"] / result.diagnostics["denominator"]
    assert added == pytest.approx(wanted, rel=1e-3)


def test_a_case_that_cannot_be_placed_leaves_the_others_untouched() -> None:
    given = context("gpt2")
    good = tiny_requests()
    bad = EditRequest(9, "{}al is made by", "Cor", "Osdor", "Elro")
    editor = RomeEditor(RomeConfig(layer=LAYER, steps=3))
    mixed = list(editor.edit_each(given, [good[0], bad, good[1]]))
    assert [r.status == "ok" for r in mixed] == [True, False, True]
    assert "inside a token" in mixed[1].status
    for result, alone in zip((mixed[0], mixed[2]), editor.edit_each(given, good[:2]), strict=True):
        assert result.diagnostics["numerator_norm"] == pytest.approx(
            alone.diagnostics["numerator_norm"], rel=1e-4
        )


def test_a_model_with_nans_gives_a_failed_result() -> None:
    given = context("llama")
    with torch.no_grad():
        given.model.model.get_parameter("model.norm.weight").fill_(float("nan"))
    (result,) = RomeEditor(RomeConfig(layer=LAYER)).edit_each(given, tiny_requests()[:1])
    assert result.delta is None
    assert "non-finite" in result.status


def test_several_requests_at_once_are_refused() -> None:
    with pytest.raises(RequestError, match="one request"):
        RomeEditor(RomeConfig(layer=LAYER)).edit(context("gpt2"), tiny_requests())
