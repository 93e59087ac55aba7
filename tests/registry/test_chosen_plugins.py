"""`EDITCORE_PLUGINS` decides which installed plugins are loaded; tested on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.studies import study_config, write_config, write_data

COMMAND = (sys.executable, "-c", "from editcore.cli import main; main()")


def editcore(chosen: str | None, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line with the variable set, or without it."""
    kept = {key: value for key, value in os.environ.items() if key != "EDITCORE_PLUGINS"}
    given = {} if chosen is None else {"EDITCORE_PLUGINS": chosen}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env={**kept, **given},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an installed plugin whose code writes a file wherever it runs."""
    site, info = tmp_path / "site", tmp_path / "site" / "editcore_loud-1.0.dist-info"
    info.mkdir(parents=True)
    module = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
    (site / "editcore_loud.py").write_text(module + "EDITCORE_HOOKSPEC = 2\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: editcore-loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[editcore]\nloud = editcore_loud\n")
    before = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(site), before])))
    return site


def names(output: str, kind: str) -> set[str]:
    return {record["name"] for record in json.loads(output)[kind]}


@pytest.mark.parametrize(
    ("chosen", "editors"),
    [
        ("editcore-rome, noop", {"rome", "c-rome", "p-rome", "noop"}),
        ("editcore-rome,", {"rome", "c-rome", "p-rome"}),
        ("", set()),
        (" ", set()),
        ("editcore", set()),
    ],
)
def test_only_the_plugins_named_are_loaded(
    site: Path, tmp_path: Path, chosen: str, editors: set[str]
) -> None:
    done = editcore(chosen, "plugins", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert names(done.stdout, "editors") == editors
    assert {"accuracy", "score"} <= names(done.stdout, "metrics"), "editcore's own stay"
    assert not (tmp_path / "ran").exists(), "the code of the others never runs"


def test_without_the_variable_all_are_loaded(site: Path, tmp_path: Path) -> None:
    done = editcore(None, "plugins", "--json", cwd=tmp_path)
    assert {"rome", "memit", "mend", "ft", "noop"} <= names(done.stdout, "editors")
    assert (tmp_path / "ran").exists()


def test_a_name_that_is_not_installed_is_an_error_that_lists_what_is(
    site: Path, tmp_path: Path
) -> None:
    done = editcore("editcore-rmoe", "plugins", cwd=tmp_path)
    assert done.returncode == 2
    assert (
        "EDITCORE_PLUGINS names 'editcore-rmoe', which is not installed. "
        "Did you mean 'editcore-rome'? Installed: " in done.stderr
    )
    assert "editcore-loud (loud)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_study_of_an_editor_that_is_left_out_is_refused_with_the_reason(
    tmp_path: Path, saved_model
) -> None:
    write_data(tmp_path)
    (tmp_path / "model").symlink_to(saved_model("llama"))
    write_config(tmp_path / "study.yaml", study_config(editors={"noop": {}}))
    assert editcore("noop", "plan", "study.yaml", cwd=tmp_path).returncode == 0
    done = editcore("rome,ft", "plan", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "editors.noop: unknown editor 'noop'" in done.stderr
    (line,) = [each for each in done.stderr.splitlines() if "left out by EDITCORE_PLUGINS" in each]
    assert "editcore-noop" in line and "editcore-rome" not in line
