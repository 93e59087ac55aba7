"""Plugins load in isolation: a broken one is recorded, a clash refused, the others work."""

import re
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from editcore import (
    DatasetFormatInfo,
    DeltaTransformInfo,
    EditorConfig,
    EditorInfo,
    EditorWrapperConfig,
    EditorWrapperInfo,
    KeyStrategyInfo,
    TransformConfig,
    hookimpl,
)
from editcore.errors import PluginError
from editcore.registry.candidates import Candidate, installed
from editcore.registry.hookspecs import HOOKSPEC_VERSION
from editcore.registry.inventory import inventory
from editcore.registry.registry import load_registry, resolve_factory
from tests.data_sets import PIECES, RECORDS


def plugin(**hooks: Callable[[], Any]) -> types.ModuleType:
    module = types.ModuleType("a_plugin")
    module.EDITCORE_HOOKSPEC = HOOKSPEC_VERSION
    for name, hook in hooks.items():
        setattr(module, name, hookimpl(hook))
    return module


def editor(name: str) -> Callable[[], Any]:
    return lambda: [EditorInfo(name, "", "", EditorConfig, "nowhere:Nothing")]


def candidate(name: str, load: Callable[[], Any]) -> Candidate:
    return Candidate(name, f"editcore-{name}", "1.0", load)


def explode() -> Any:
    raise ImportError("no module named quux")


def test_what_ships_is_found() -> None:
    registry = load_registry()
    assert {"rome", "c-rome", "p-rome"} <= set(registry.editors)
    assert set(registry.key_strategies) == {"mixed", "prefixed", "unprefixed"}
    assert {"accuracy", "score"} <= set(registry.metrics)
    assert "norm-cap" in registry.transforms
    assert set(registry.judges) == {"exact-match", "f1", "contains", "model"}
    assert set(registry.dataset_formats) == {"counterfact", "flat", "zsre", *RECORDS, *PIECES}
    assert registry.editors["rome"].source.distribution == "editcore-rome"
    assert len(registry.editors["rome"].source.code) == 12
    assert registry.failures == []


def test_records_name_implementations_that_exist() -> None:
    registry = load_registry()
    for catalogue in (
        registry.editors,
        registry.key_strategies,
        registry.transforms,
        registry.metrics,
        registry.dataset_formats,
        registry.judges,
    ):
        for registered in catalogue.values():
            assert callable(resolve_factory(registered.record.factory))


def test_a_broken_plugin_is_recorded_and_the_others_work() -> None:
    good = plugin(editcore_editors=editor("good"))
    registry = load_registry([candidate("bad", explode), candidate("good", lambda: good)])
    assert "good" in registry.editors
    (failure,) = registry.failures
    assert failure.distribution == "editcore-bad"
    assert "quux" in failure.reason


def test_a_misspelt_hook_is_a_failure_of_that_plugin() -> None:
    wrong = plugin(editcore_editor=editor("x"))
    registry = load_registry([candidate("wrong", lambda: wrong)])
    assert "editcore_editor" in registry.failures[0].reason


def test_a_taken_name_is_refused_and_both_distributions_named() -> None:
    one, two = plugin(editcore_editors=editor("same")), plugin(editcore_editors=editor("same"))
    two.editcore_key_strategies = hookimpl(lambda: [KeyStrategyInfo("fine", "", "", "nowhere:f")])
    other = plugin(editcore_editors=editor("other"))
    registry = load_registry(
        [
            candidate("one", lambda: one),
            candidate("two", lambda: two),
            candidate("other", lambda: other),
        ]
    )
    both = "provided by both editcore-one and editcore-two; uninstall one"
    with pytest.raises(PluginError, match=both):
        registry.editors["same"]
    assert list(registry.editors) == ["other"]
    assert list(registry.key_strategies) == ["fine"], "what nobody contests stays"
    (failure,) = registry.failures
    assert failure.distribution == "editcore-two"
    assert both in failure.reason


def test_transforms_and_wrappers_share_their_names_and_are_listed_apart() -> None:
    transform = DeltaTransformInfo("same", "", "", TransformConfig, "nowhere:f")
    wrappers = [
        EditorWrapperInfo(name, "", "", EditorWrapperConfig, "nowhere:W")
        for name in ("same", "fine")
    ]
    registry = load_registry(
        [
            candidate("one", lambda: plugin(editcore_delta_transforms=lambda: [transform])),
            candidate("two", lambda: plugin(editcore_editor_wrappers=lambda: wrappers)),
        ]
    )
    with pytest.raises(PluginError, match="transform 'same' is provided by both"):
        registry.transforms["same"]
    found = inventory(registry)
    assert [record["name"] for record in found["editor_wrappers"]] == ["fine"]
    assert found["delta_transforms"] == []


def test_a_plugin_is_registered_completely_or_not_at_all() -> None:
    def mixed() -> list[Any]:
        return [*editor("fine")(), "no record"]

    registry = load_registry([candidate("mixed", lambda: plugin(editcore_editors=mixed))])
    assert "fine" not in registry.editors
    assert "'no record' is not an instance of EditorInfo" in registry.failures[0].reason


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (1, "made for version 1 of the hooks.*has version 2; install a newer .* of editcore-old"),
        (3, "made for version 3 of the hooks.*has version 2; install a newer .* of editcore$"),
        (None, "does not state which version of the hooks.*add `EDITCORE_HOOKSPEC = 2`"),
        ("2", "does not state which version of the hooks.*add `EDITCORE_HOOKSPEC = 2`"),
    ],
)
def test_a_plugin_made_for_other_hooks_is_refused_whole(stated: object, reason: str) -> None:
    old, good = plugin(editcore_editors=editor("old")), plugin(editcore_editors=editor("good"))
    old.EDITCORE_HOOKSPEC = stated
    registry = load_registry([candidate("old", lambda: old), candidate("good", lambda: good)])
    assert list(registry.editors) == ["good"]
    (failure,) = registry.failures
    assert re.search(reason, failure.reason)


@pytest.mark.parametrize("name", ["", "Mine", "my editor", "my/editor", "-"])
def test_a_malformed_name_is_a_failure_of_that_plugin(name: str) -> None:
    wrong = plugin(editcore_editors=editor(name))
    registry = load_registry([candidate("wrong", lambda: wrong)])
    assert f"editor {name!r}: this is not a valid name" in registry.failures[0].reason


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (DatasetFormatInfo("auto", "", "", "nowhere:f"), "'auto' has a reserved name"),
        (DatasetFormatInfo("mine", "", "", "nowhere:f", "src"), "fields .* not a tuple of names"),
        (DatasetFormatInfo("mine", "", "", "nowhere:f", (3,)), "fields .* not a tuple of names"),
    ],
)
def test_a_format_that_could_not_be_asked_for_is_refused(
    record: DatasetFormatInfo, reason: str
) -> None:
    wrong = plugin(editcore_datasets=lambda: [record])
    registry = load_registry([candidate("wrong", lambda: wrong)])
    assert re.search(reason, registry.failures[0].reason)


def test_one_plugin_that_provides_a_name_twice_fails_alone() -> None:
    twice = plugin(editcore_editors=lambda: [*editor("same")(), *editor("same")()])
    registry = load_registry([candidate("twice", lambda: twice)])
    assert "registers the name 'same' twice" in registry.failures[0].reason
    assert list(registry.editors) == []


def test_an_unknown_editor_is_answered_with_the_nearest_and_what_is_broken() -> None:
    registry = load_registry([*installed(), candidate("bad", explode)])
    with pytest.raises(PluginError, match=r"(?s)unknown editor 'rmoe'.*'rome'\?.*c-rome.*quux"):
        registry.editors["rmoe"]


def test_a_factory_that_is_not_there_is_named() -> None:
    with pytest.raises(PluginError, match="nowhere:Nothing"):
        resolve_factory("nowhere:Nothing")


def test_the_registry_imports_no_torch() -> None:
    code = (
        "import sys; from editcore.registry.registry import load_registry; load_registry();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
