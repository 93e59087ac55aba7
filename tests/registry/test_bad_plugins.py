"""Installed plugins that are broken or break their contract, used through the real command line.

All of them are installed in addition to the shipped ones, as in a user's environment.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.planning import paths
from tests.studies import study_config, write_config, write_data

EDITORS = """
from editcore import (
    Capabilities, EditorConfig, EditorInfo, EditResult, Editor, MetricInfo, hookimpl
)

EDITCORE_HOOKSPEC = 2


class Layer(EditorConfig):
    layer: int = 1

    def edited_layers(self):
        return (self.layer,)


class Confused(Layer):
    def requires(self):
        return self.layers


@hookimpl
def editcore_editors():
    for name in ("wrong-shape", "infinite", "elsewhere", "raises", "nothing"):
        factory = "bad_editors_at_work:" + name.title().replace("-", "")
        yield EditorInfo(name, "", "", Layer, factory)
    for name in ("not-there", "broken-module", "no-editor"):
        module = "bad_module" if name == "broken-module" else "bad_editors_at_work"
        yield EditorInfo(name, "", "", Layer, module + ":" + name.title().replace("-", ""))
    yield EditorInfo("confused", "", "", Confused, "bad_editors_at_work:Raises")
    lazy = Capabilities(changes_weights=False)
    yield EditorInfo("false-patch", "", "", Layer, "bad_editors_at_work:WrongShape", lazy)


@hookimpl
def editcore_metrics():
    yield MetricInfo("dizzy", "", "", "bad_editors_at_work:dizzy", ("dizziness",))
"""

AT_WORK = '''
import torch

from editcore import EditResult, Editor
from editcore.toolkit import Delta, DenseUpdate


class Base(Editor):
    """The second case is the one that goes wrong."""

    def edit(self, context, requests, state=None):
        case = requests[0].case_id
        name = context.model.parts.down_weight(self.config.layer)
        change = 0.01 * torch.ones(context.model.model.get_parameter(name).shape)
        if case != 11:
            return EditResult(Delta({name: DenseUpdate(change)}))
        return self.wrong(context, name, change)


class WrongShape(Base):
    def wrong(self, context, name, change):
        return EditResult(Delta({name: DenseUpdate(change[:3])}))


class Infinite(Base):
    def wrong(self, context, name, change):
        return EditResult(Delta({name: DenseUpdate(change / 0)}))


class Elsewhere(Base):
    def wrong(self, context, name, change):
        other = context.model.parts.down_weight(2)
        return EditResult(Delta({other: DenseUpdate(change)}))


class Raises(Base):
    def wrong(self, context, name, change):
        raise KeyError("no such fact")


class Nothing(Base):
    def wrong(self, context, name, change):
        return None


class NoEditor:
    """Takes no config."""


def dizzy(case):
    return {"dizziness": 1 / (case.questions.request.case_id - 11)}
'''

START = """from editcore import EditorConfig, EditorInfo, hookimpl

EDITCORE_HOOKSPEC = 2


@hookimpl
def editcore_editors():
"""
FILES = {
    "bad_import": "import a_package_that_is_not_there",
    "bad_exit": "raise SystemExit(3)",
    "bad_hook": START.replace("editcore_editors", "editcore_editor") + "    pass\n",
    "bad_name": START + "    yield EditorInfo('ft', '', '', EditorConfig, 'nowhere:Ft')\n",
    "bad_config": START + "    yield EditorInfo('dict', '', '', {}, 'nowhere:Dict')\n",
    "bad_version": START.replace("= 2", "= 1")
    + "    yield EditorInfo('old', '', '', EditorConfig, 'nowhere:Old')\n",
    "bad_editors": EDITORS,
}
# What each does wrong in the middle of its shard, and words of the row's status.
BROKEN = {
    "wrong-shape": "has shape (3, ",
    "infinite": "the editor 'infinite' returned a non-finite weight change",
    "elsewhere": "outside the layers 1 that it declares",
    "raises": "KeyError: 'no such fact'",
    "nothing": "the editor 'nothing' returned NoneType, not an EditResult",
}


@pytest.fixture
def run(tmp_path: Path, saved_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in a folder with data and a model, with the plugins above installed."""
    site, folder = tmp_path / "site", tmp_path / "study"
    for name, text in FILES.items():
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(text)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[editcore]\n{name} = {name}\n")
    (site / "bad_editors_at_work.py").write_text(AT_WORK)
    (site / "bad_module.py").write_text("raise ValueError('not on this machine')")
    monkeypatch.syspath_prepend(site)
    write_data(folder)
    (folder / "model").symlink_to(saved_model("llama"))
    monkeypatch.chdir(folder)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return invoke


def plan(run: Any, **sections: Any) -> Result:
    """Write a study and plan it."""
    write_config(Path("study.yaml"), study_config(**sections))
    result: Result = run("plan", "study.yaml")
    return result


def edited(run: Any, label: str) -> Result:
    """Run the study's first shard with one editor."""
    names = ("tiny", label, "facts", "000")
    places = (paths.edits_job(*names), paths.edits(*names), paths.deltas(*names))
    job, rows, changes = map(str, places)
    result: Result = run("edit", "--job", job, "--out", rows, "--deltas", changes)
    return result


def test_each_is_listed_with_its_reason_and_the_others_work(run: Any) -> None:
    found = json.loads(run("plugins", "--json").output)
    reasons = {broken["distribution"]: broken["reason"] for broken in found["broken"]}
    # Of two that claim a name, the second in the order of their distributions' names is listed.
    assert reasons.keys() == {
        *("bad_config", "bad_import", "bad_exit", "bad_hook", "bad_version", "editcore-ft")
    }
    assert reasons["bad_version"] == (
        "it was made for version 1 of the hooks, and this editcore has version 2; "
        "install a newer version of bad_version"
    )
    assert (
        reasons["bad_config"]
        == "the config of editor 'dict' is {}, which is not a class of options; "
        "report this to its authors"
    )
    assert "No module named 'a_package_that_is_not_there'" in reasons["bad_import"]
    assert reasons["bad_exit"] == "SystemExit: 3"
    assert "unknown hook 'editcore_editor'" in reasons["bad_hook"]
    assert "'ft' is provided by both bad_name and editcore-ft" in reasons["editcore-ft"]
    names = {editor["name"] for editor in found["editors"]}
    assert {"rome", "noop", "raises", "ft-unconstrained"} <= names
    assert "ft" not in names


def test_a_contested_name_and_an_unknown_one_stop_the_study_that_asks_for_them(run: Any) -> None:
    result = plan(run, editors={"ft": {"options": {"layer": 1}}})
    assert result.exit_code == 2
    assert "study.yaml: editors.ft: editor 'ft' is provided by both bad_name and editcore-ft" in (
        result.output
    )
    result = plan(run, editors={"raise": {}})
    assert result.exit_code == 2
    assert "unknown editor 'raise'. Did you mean 'raises'? Installed: " in result.output
    assert " broken-module, " in result.output
    assert "broken: bad_import: ModuleNotFoundError" in result.output
    result = plan(run, editors={"confused": {}})
    assert result.exit_code == 2
    assert "editors.confused.options for tiny: bad_editors failed when asked what" in result.output


def test_what_goes_wrong_in_a_shard_costs_one_row(run: Any) -> None:
    editors: dict[str, Any] = {name: {} for name in (*BROKEN, "false-patch", "noop")}
    assert plan(run, editors=editors).exit_code == 0
    prefixes = map(str, (paths.prefixes_job("tiny"), paths.prefixes("tiny")))
    job, out = prefixes
    assert run("prefixes", "--job", job, "--out", out).exit_code == 0
    for label in editors:
        assert edited(run, label).exit_code == 0
    rows = {label: pl.read_parquet(paths.edits("tiny", label, "facts", "000")) for label in editors}
    assert rows["noop"]["status"].to_list() == ["ok", "ok", "ok"]
    for label, words in BROKEN.items():
        first, second, third = rows[label]["status"]
        assert (first, third) == ("ok", "ok"), label
        assert words in second
        assert rows[label]["perplexity"].null_count() == 1
    for status in rows["false-patch"]["status"]:
        assert "returned a weight change, but its capabilities announce a patch" in status


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("not-there", "'bad_editors_at_work:NotThere' cannot be imported"),
        ("broken-module", "cannot be imported (ValueError: not on this machine)"),
        ("no-editor", "the editor 'no-editor' cannot be made (TypeError: NoEditor() takes no"),
    ],
)
def test_an_editor_that_cannot_be_made_is_named(run: Any, label: str, words: str) -> None:
    assert plan(run, editors={label: {}}).exit_code == 0
    run("prefixes", "--job", str(paths.prefixes_job("tiny")), "--out", str(paths.prefixes("tiny")))
    result = edited(run, label)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_metric_that_fails_leaves_the_row_its_other_columns(run: Any) -> None:
    assert plan(run, editors={"noop": {}}, metrics=["accuracy", "dizzy"]).exit_code == 0
    run("prefixes", "--job", str(paths.prefixes_job("tiny")), "--out", str(paths.prefixes("tiny")))
    assert edited(run, "noop").exit_code == 0
    rows = pl.read_parquet(paths.edits("tiny", "noop", "facts", "000"))
    first, second, third = rows["status"]
    assert (first, third) == ("ok", "ok")
    assert second == "metric dizzy: ZeroDivisionError: division by zero"
    assert rows["efficacy"].null_count() == 0
    assert rows["dizziness"].to_list() == [-1.0, None, 1.0]
