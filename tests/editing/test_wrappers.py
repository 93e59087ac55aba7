"""A wrapper decides what the editor within it is given, and what becomes of its change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore import EditContext, Editor, EditorWrapperConfig, EditRequest, EditResult
from editcore.config.options import WrappedOptions
from editcore.config.value_options import ValueOptions, ValueSite
from editcore.editing.session import Session, make_editor
from editcore.editing.spreading import SpreadingEditor
from editcore.editing.values import values_of_each
from editcore.editing.wrappers import BoundWrapper, EditorWrapper, wrapped
from editcore.errors import PluginError
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_file import StoredValues
from editcore.models.loading import LoadedModel, wrap_model
from editcore.planning.jobs import EditorJob, EditorSpec, ModelSpec, TransformSpec
from editcore.registry.candidates import Candidate, installed
from editcore.registry.hookspecs import EditorWrapperInfo, hookimpl
from editcore.registry.registry import load_registry
from editcore.testing.models import tiny_model, tiny_requests

LAYER = 1
ROME = {"layer": LAYER, "steps": 2, "second_moment": False}
MEMIT = {"layers": [0, LAYER], "steps": 2}


class ScaledConfig(EditorWrapperConfig):
    """By how much changes are scaled."""

    factor: float = 2.0


class Scaled(EditorWrapper[ScaledConfig]):
    """Scales each change, and counts edits in its state."""

    def start(self, context: EditContext) -> Any:
        return {"count": torch.zeros(1)}

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        found = self.inner.edit(context, requests)
        assert found.delta is not None
        scaled = {n: u.scaled(self.options.factor) for n, u in found.delta.updates.items()}
        after = {"count": state["count"] + 1}
        return replace(found, delta=replace(found.delta, updates=scaled), state=after)


class ScalingPlugin:
    """Provides the wrapper above."""

    EDITCORE_HOOKSPEC = 2

    @hookimpl
    def editcore_editor_wrappers(self) -> list[EditorWrapperInfo]:
        return [EditorWrapperInfo("scaled", "", "", ScaledConfig, f"{__name__}:Scaled")]


def bound(factory: str = f"{__name__}:Scaled", factor: float = 2.0) -> BoundWrapper:
    return BoundWrapper("scaled", factory, ScaledConfig(factor=factor))


def editor(name: str, options: dict[str, Any]) -> Editor[Any]:
    info = load_registry().editors[name].record
    return make_editor(info, info.config.model_validate(options))


def context() -> EditContext:
    from editcore.keyvalue.keys import mixed

    model = wrap_model("llama", *tiny_model("llama"))
    prefixes = ContextPrefixes(("{}", "I think. {}"), "llama", 0)
    return EditContext(model, prefixes, key_strategy=mixed)


def test_wrappers_are_around_the_editor_from_the_first_to_the_last() -> None:
    rome = editor("rome", ROME)
    outer = wrapped(rome, [bound(factor=2.0), bound(factor=3.0)])
    assert isinstance(outer, Scaled)
    assert isinstance(outer.inner, Scaled)
    assert (outer.options.factor, outer.inner.options.factor) == (3.0, 2.0)
    assert outer.inner.inner is rome
    assert outer.config is rome.config


def test_a_wrapper_that_overrides_nothing_is_its_editor() -> None:
    rome, given = editor("rome", ROME), context()
    plain = EditorWrapper(rome, EditorWrapperConfig())
    requests = tiny_requests()[:2]
    for one, other in zip(
        [*plain.edit_each(given, requests), plain.edit(given, requests[:1])],
        [*rome.edit_each(given, requests), rome.edit(given, requests[:1])],
        strict=True,
    ):
        (mine,), (theirs,) = one.delta.updates.values(), other.delta.updates.values()
        torch.testing.assert_close(mine.dense(), theirs.dense(), rtol=1e-3, atol=1e-5)
    state = {"a": torch.ones(2)}
    assert plain.load_state(given, plain.save_state(state)) == state
    assert plain.start(given) is None
    assert plain.patch_of(given, None) is None


def test_a_factory_gives_an_editor_or_is_refused_in_words() -> None:
    rome = editor("rome", ROME)
    with pytest.raises(PluginError, match="of the wrapper 'scaled' returned tuple, not an Editor"):
        bound(f"{__name__}:pair").around(rome)
    with pytest.raises(PluginError, match=r"wrapper 'scaled' cannot be made .ZeroDivisionError"):
        bound(f"{__name__}:broken").around(rome)


def pair(editor: Any, options: Any) -> object:
    return (editor, options)


def broken(editor: Any, options: Any) -> object:
    raise ZeroDivisionError("no editor")


def test_a_session_wraps_its_editor_and_then_transforms_the_change(
    saved_model: Callable[[str], Path],
) -> None:
    registry = load_registry([*installed(), Candidate("s", "editcore-s", "1", ScalingPlugin)])
    ft = {"layer": LAYER, "steps": 1}
    steps = (
        TransformSpec(uses="norm-cap", options={"ratio": 1e-4}),
        TransformSpec(uses="scaled", options={"factor": 3.0}),
    )
    model = ModelSpec(name="tiny", source=str(saved_model("llama")))
    found = {}
    for name, chosen in {"plain": (), "scaled": steps[1:], "both": steps}.items():
        spec = EditorSpec(label="ft", uses="ft", options=ft, transforms=chosen)
        session = Session.open(EditorJob(model=model, editor=spec, seed=0), registry)
        state = session.editor.start(session.context)
        found[name] = session.edit(tiny_requests()[:1], state)
        assert found[name].status == "ok"
    weight = session.context.model.model.get_parameter(*found["plain"].delta.updates)
    assert found["scaled"].delta.norm() == pytest.approx(3 * found["plain"].delta.norm(), rel=1e-5)
    assert found["both"].delta.norm() == pytest.approx(1e-4 * float(weight.norm()), rel=1e-4)
    assert found["both"].state["count"].item() == 1


def test_wrapped_options_require_what_the_editor_and_the_wrappers_do() -> None:
    from tests.studies import CarefulConfig, PlainConfig

    plain = PlainConfig(layer=1)
    asked = WrappedOptions(plain, (CarefulConfig(), CarefulConfig()))
    more = CarefulConfig().requires(plain)
    assert asked.requires() == (*plain.requires(), *more, *more)


def doubled(
    model: LoadedModel, requests: Sequence[EditRequest], values: Sequence[Any], site: ValueSite
) -> list[Any]:
    assert (site.layer, len(requests)) == (LAYER, len(values))
    return [
        value if isinstance(value, str) else replace(value, delta=2 * value.delta)
        for value in values
    ]


def refused(
    model: LoadedModel, requests: Sequence[EditRequest], values: Sequence[Any], site: ValueSite
) -> list[Any]:
    return [f"{site.site} {float(value.delta.norm()):.3f}" for value in values]


def test_v_is_adjusted_whether_it_was_planned_or_is_searched_for() -> None:
    given, request = context(), tiny_requests()[0]
    options = ValueOptions(layer=LAYER, steps=2)
    (plain,) = values_of_each(given, [request], options)
    assert isinstance(plain, Value)
    stored = StoredValues(Path("v"), {request.case_id: plain})
    for each in (given, replace(given, values={options: stored})):
        (found,) = values_of_each(each.adjusting(doubled), [request], options)
        assert isinstance(found, Value)
        torch.testing.assert_close(found.delta, 2 * plain.delta)
        torch.testing.assert_close(found.initial, plain.initial)


@pytest.mark.parametrize(("name", "options"), [("rome", ROME), ("memit", MEMIT)])
def test_editors_write_the_adjusted_values(name: str, options: dict[str, Any]) -> None:
    """An adjustment that refuses a case fails it, with the site that v* is for."""
    given = context()
    if name == "memit":
        given = replace(given, moments=moments(given.model))
    found = next(editor(name, options).edit_each(given.adjusting(refused), tiny_requests()[:1]))
    site = "block" if name == "memit" else "mlp"
    assert found.delta is None
    assert found.status.startswith(site)
    assert (name == "memit") == isinstance(editor(name, options), SpreadingEditor)


def test_the_wrapper_closest_to_the_editor_adjusts_first() -> None:
    given, request = context(), tiny_requests()[0]
    options = ValueOptions(layer=LAYER, steps=2)
    (plain,) = values_of_each(given, [request], options)
    assert isinstance(plain, Value)
    # The outer wrapper sets its own first, the inner one then comes before it.
    (found,) = values_of_each(given.adjusting(refused).adjusting(doubled), [request], options)
    assert found == f"mlp {2 * float(plain.delta.norm()):.3f}"


def moments(model: LoadedModel) -> Any:
    from editcore.keyvalue.second_moment import SecondMoment

    width = model.parts.down(0).weight.numel() // 32
    return {layer: SecondMoment.from_matrix(layer, torch.eye(width), 9) for layer in (0, LAYER)}
