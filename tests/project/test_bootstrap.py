"""`bootstrap.py` installs what is missing, once, and then runs the given command."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bootstrap


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own with one plugin, for `bootstrap` to work in."""
    (tmp_path / "plugins" / "editcore-one").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "plugins" / "editcore-one"):
        (folder / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements.lock").write_text("six==1.17.0\n")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "ENVIRONMENT", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "BIN", tmp_path / ".venv" / "bin")
    monkeypatch.setattr(bootstrap, "PINS", tmp_path / "requirements.lock")
    return tmp_path


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A replacement for pip that records its calls and exits with `returncode`."""
    record = SimpleNamespace(calls=[], returncode=0)
    real = subprocess.run

    def run(command: list[str], **options: Any) -> Any:
        if "pip" not in command:
            return real(command, **options)
        record.calls.append(command[command.index("install") :])
        return SimpleNamespace(returncode=record.returncode)

    monkeypatch.setattr(bootstrap.subprocess, "run", run)
    monkeypatch.setattr(bootstrap, "find_pip", lambda: ["pip"])
    return record


def test_the_first_install_takes_the_pins_and_then_every_project(project: Path, pip) -> None:
    bootstrap.install()
    pins, projects = pip.calls
    assert str(project / "requirements.lock") in pins
    assert projects[-4:] == ["-e", str(project), "-e", str(project / "plugins" / "editcore-one")]
    assert {"--no-index", "--no-deps", "--no-build-isolation"} <= set(projects)


def test_a_second_install_does_nothing(project: Path, pip) -> None:
    bootstrap.install()
    bootstrap.install()
    assert len(pip.calls) == 2


def test_a_new_plugin_is_installed_without_touching_the_pins(project: Path, pip) -> None:
    bootstrap.install()
    (project / "plugins" / "editcore-two").mkdir()
    (project / "plugins" / "editcore-two" / "pyproject.toml").write_text("[project]\n")
    bootstrap.install()
    assert len(pip.calls) == 3
    assert pip.calls[-1][-1].endswith("editcore-two")


def test_changed_pins_are_installed(project: Path, pip) -> None:
    bootstrap.install()
    (project / "requirements.lock").write_text("six==1.16.0\n")
    bootstrap.install()
    assert len(pip.calls) == 4


def test_a_failed_install_is_one_plain_message_and_is_tried_again(
    project: Path, pip, capsys
) -> None:
    pip.returncode = 1
    assert bootstrap.main(["install"]) == 2
    message = capsys.readouterr().err
    assert "could not install the pinned packages" in message
    assert "Traceback" not in message
    pip.returncode = 0
    assert bootstrap.main(["install"]) == 0
    assert len(pip.calls) == 3


def test_the_environment_is_made_again_when_its_python_is_gone(project: Path) -> None:
    bootstrap.make_environment()
    python = project / ".venv" / "bin" / "python"
    (project / ".venv" / "installed-pins").write_text("anything")
    python.unlink()
    bootstrap.make_environment()
    assert bootstrap.output([str(python), "-c", "print(1)"]) == "1"
    assert not (project / ".venv" / "installed-pins").exists()


@pytest.mark.parametrize(
    ("verb", "rest", "command"),
    [
        ("study", ["-n"], ["python", "-m", "editcore_start", "-n"]),
        ("test", ["-x"], ["pytest", "-x"]),
        ("test", [], ["pytest", *bootstrap.WHOLE_SUITE]),
        ("run", ["editcore", "--help"], ["editcore", "--help"]),
        ("install", [], []),
        ("add", ["./plugin"], []),
    ],
)
def test_arguments_go_to_what_the_verb_runs(verb: str, rest: list[str], command: list[str]) -> None:
    assert bootstrap.commands(verb, rest) == command


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("sys.version_info", (3, 10, 2), "needs 3.11 or newer"),
        ("os.name", "nt", "Windows is not supported"),
        ("shutil.which", lambda name: None, "git is missing"),
    ],
)
def test_an_unsuitable_machine_is_refused_with_the_reason(
    attribute: str, value: Any, message: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    module, name = attribute.split(".")
    # Only changes the module as seen by `bootstrap`.
    view = SimpleNamespace(**{**vars(sys.modules[module]), name: value})
    monkeypatch.setattr(bootstrap, module, view)
    assert bootstrap.main(["install"]) == 2
    assert message in capsys.readouterr().err


def test_a_python_without_pip_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(bootstrap.BootstrapError, match="has no pip"):
        bootstrap.find_pip()


def test_nothing_to_add_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(bootstrap, "install", lambda: None)
    assert bootstrap.main(["add"]) == 2
    assert "add needs a package" in capsys.readouterr().err


def test_help_shows_examples(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        bootstrap.main(["--help"])
    assert "python3 bootstrap.py study -n" in capsys.readouterr().out
