"""What a session accepts from a plugin: an editor, a key strategy, and what results report."""

from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from editcore import EditContext, Editor, EditorConfig, EditorInfo, EditResult
from editcore.config.options import Keys, Requirement
from editcore.editing.session import Session, make_editor, resolved_key_strategy
from editcore.editing.transforms import bind
from editcore.errors import ConfigError, PluginError
from editcore.keyvalue.keys import prefixed
from editcore.models.loading import wrap_model
from editcore.planning.jobs import EditorJob, EditorSpec, ModelSpec, TransformSpec
from editcore.registry.registry import load_registry
from editcore.testing.models import tiny_model
from editcore.updates.delta import Delta, DenseUpdate

WEIGHT = "model.layers.1.mlp.down_proj.weight"


class Still(Editor[EditorConfig]):
    """Is never asked for an edit here."""

    def edit(self, context: EditContext, requests, state=None) -> EditResult:
        raise AssertionError("only its results are looked at")


def info(factory: str) -> EditorInfo:
    return EditorInfo("still", "", "", EditorConfig, factory)


def finished(status: str = "ok", **reported: Any) -> EditResult:
    """A sound change with a report, as a session returns it."""
    model = wrap_model("llama", *tiny_model("llama"))
    shape = model.model.get_parameter(WEIGHT).shape
    change = Delta({WEIGHT: DenseUpdate(torch.ones(shape))})
    session = Session(info("unused:Still"), EditContext(model), Still(EditorConfig()), ())
    return session.finished(EditResult(change, status, **reported))


def test_what_an_editor_reports_is_kept() -> None:
    result = finished(key_strategy="own", second_moment=True)
    assert (result.status, result.key_strategy, result.second_moment) == ("ok", "own", True)


@pytest.mark.parametrize(
    ("reported", "words"),
    [
        ({"key_strategy": 3}, "reports a key_strategy that is not a name"),
        ({"second_moment": "yes"}, "reports a second_moment that is neither true nor false"),
        ({"status": "failed", "key_strategy": 3}, "reports a key_strategy that is not a name"),
        (
            {"diagnostics": [1.0]},
            "reports diagnostics that are not a mapping from names to numbers",
        ),
        ({"diagnostics": {"rank": "3"}}, "reports the diagnostic 'rank', which is not a number"),
        ({"diagnostics": {"rank": torch.ones(2)}}, "the diagnostic 'rank', which is not a number"),
        ({"diagnostics": {7: 1.0}}, "reports a diagnostic whose name is 7, not text"),
    ],
)
def test_a_report_of_the_wrong_type_fails_its_edit(reported: dict[str, Any], words: str) -> None:
    result = finished(**reported)
    assert words in result.status
    assert (result.change, result.key_strategy, result.second_moment) == (None, None, None)


@pytest.mark.parametrize("options", [{"layr": 1}, {"steps": "many"}, {"learning_rate": inf}, {}])
def test_options_of_a_job_that_the_editor_does_not_take_are_named(
    saved_model: Callable[[str], Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    job = EditorJob(
        model=ModelSpec(name="tiny", source=str(saved_model("gpt2"))),
        editor=EditorSpec(label="mine", uses="ft", options=options),
        seed=0,
    )
    with pytest.raises(ConfigError, match=r"^options of mine: "):
        Session.open(job, load_registry())


@pytest.mark.parametrize("options", [{"rato": 1}, {"ratio": "much"}, {"ratio": inf}])
def test_options_of_a_transform_that_it_does_not_take_are_named(options: dict[str, Any]) -> None:
    spec = TransformSpec(uses="norm-cap", options=options)
    with pytest.raises(ConfigError, match=r"^options of the transform norm-cap: "):
        bind([spec], load_registry())


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_no_option_of_an_editor_is_infinite(number: float) -> None:
    for entry in load_registry().editors.values():
        for name, field in entry.record.config.model_fields.items():
            if "float" in str(field.annotation):
                with pytest.raises(ValidationError, match=name):
                    entry.record.config.model_validate({name: number})


def test_a_factory_gives_an_editor_or_is_refused_in_words() -> None:
    assert isinstance(make_editor(info(f"{__name__}:Still"), EditorConfig()), Still)
    wrong = "factory 'builtins:str' of the editor 'still' returned str, not an Editor"
    with pytest.raises(PluginError, match=wrong):
        make_editor(info("builtins:str"), EditorConfig())


class Prefixed(EditorConfig):
    """Asks for one key strategy."""

    strategy: str = "prefixed"

    def requires(self) -> tuple[Requirement, ...]:
        return (Keys(self.strategy),)


def test_the_key_strategy_asked_for_is_resolved_and_no_other() -> None:
    registry = load_registry()
    assert resolved_key_strategy(Prefixed(), registry) is prefixed
    assert resolved_key_strategy(EditorConfig(), registry) is None
    with pytest.raises(PluginError, match="mean 'prefixed'"):
        resolved_key_strategy(Prefixed(strategy="prefxed"), registry)
