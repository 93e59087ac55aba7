"""The output of `editcore new-plugin` can be installed, is found, and passes its own tests."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.scaffold import FILES, commands
from editcore.testing.models import KINDS
from tests import packages


def new_plugin(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["new-plugin", *arguments])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated project."""
    folder = tmp_path_factory.mktemp("new")
    result = new_plugin("mine-2", "--into", str(folder))
    assert result.exit_code == 0, result.output
    return folder / "editcore-mine-2"


@pytest.fixture(scope="module")
def site(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project installed."""
    folder = tmp_path_factory.mktemp("site")
    packages.install(project, folder)
    return folder


def test_its_tests_pass_as_generated(project: Path, site: Path) -> None:
    done = packages.run(site, "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 6 * len(KINDS), "the suite ran"


def test_it_is_listed_with_its_options(project: Path, site: Path) -> None:
    done = packages.editcore(site, "plugins", "--json", cwd=project)
    (found,) = [e for e in json.loads(done.stdout)["editors"] if e["name"] == "mine-2"]
    assert (found["distribution"], found["version"]) == ("editcore-mine-2", "0.1.0")
    assert set(found["options"]) == {"layer", "strength"}


@pytest.mark.parametrize("check", [["check", "--isolated"], ["format", "--check", "--isolated"]])
def test_it_is_clean(project: Path, check: list[str]) -> None:
    done = packages.run(
        project, "ruff", *check, "--no-cache", "--line-length", "100", ".", cwd=project
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_its_own_files_are_written(project: Path) -> None:
    written = {p.relative_to(project).as_posix() for p in project.rglob("*") if p.is_file()}
    assert written == {target.format(module="editcore_mine_2") for target in FILES.values()}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Editor", "lower-case letters"),
        ("9-lives", "a letter first"),
        ("a--b", "join words with"),
        ("rome", "editcore-rome already provides an editor 'rome'"),
    ],
)
def test_an_impossible_name_is_refused(tmp_path: Path, name: str, words: str) -> None:
    result = new_plugin(name, "--into", str(tmp_path))
    assert result.exit_code == 2
    assert words in result.output
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "editcore-mine").mkdir()
    result = new_plugin("mine", "--into", str(tmp_path))
    assert result.exit_code == 2
    assert "already exists" in result.output
    assert list((tmp_path / "editcore-mine").iterdir()) == []


def test_the_advice_calls_bootstrap_in_the_environment_that_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / ".venv"))
    folder = tmp_path / "editcore-mine"
    assert commands(folder) == [f"pip install -e {folder}", f"pytest {folder}"]
    script = tmp_path / "bootstrap.py"
    script.touch()
    assert commands(folder) == [f"python3 {script} {verb} {folder}" for verb in ("add -e", "test")]


def test_the_advice_is_what_is_printed(tmp_path: Path) -> None:
    result = new_plugin("advice", "--into", str(tmp_path))
    assert result.output.splitlines()[-2:] == [
        f"  {line}" for line in commands(tmp_path / "editcore-advice")
    ]
