"""Without a checkout: wheels, `editcore init` and `editcore run` make the report of a study."""

import sys
from pathlib import Path

import polars as pl
import pytest

from tests import installed
from tests.installed import Environment
from tests.workflow.conftest import ROOT

OURS = (ROOT, ROOT / "resources", ROOT / "plugins" / "editcore-rome")
# Run by every Python of the environment when it starts.
WATCH = """\
import os, sys

def note(event, arguments, root={root!r} + os.sep, log={log!r}, allowed={allowed!r} + os.sep):
    if event == "open" and isinstance(arguments[0], str):
        path = os.path.abspath(arguments[0])
        if path.startswith(root) and not path.startswith(allowed):
            with open(log, "a") as file:
                print(path, file=file)

sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("no-checkout")


@pytest.fixture(scope="module")
def environment(home: Path) -> Environment:
    """The library, the bundled world and one plugin; every opened file of the tree is noted."""
    made = installed.environment(home, OURS)
    watch = WATCH.format(root=str(ROOT), log=str(home / "opened"), allowed=sys.prefix)
    (made.site / "watch.py").write_text(watch)
    (made.site / "watch.pth").write_text("import watch\n")
    return made


@pytest.fixture(scope="module")
def study(environment: Environment) -> Path:
    """The folder of a finished study."""
    environment.run("editcore", "init", "my-study")
    folder = environment.folder / "my-study"
    environment.run("editcore", "run", cwd=folder, OMP_NUM_THREADS="1")
    return folder


def test_two_commands_make_the_report_of_a_study(study: Path) -> None:
    page = (study / "results" / "report.html").read_text(encoding="utf-8")
    assert "tiny-gpt2" in page
    cases = pl.read_parquet(study / "results" / "summary" / "cases.parquet")
    assert cases["status"].to_list() == ["ok"] * 24
    assert set(cases["editor"]) == {"rome", "c-rome"}
    assert (study / "results" / "downstream" / "model=tiny-gpt2" / "scores.parquet").is_file()


def test_nothing_of_ours_is_from_the_repository(
    home: Path, environment: Environment, study: Path
) -> None:
    code = (
        "import editcore, editcore_rome; from editcore.datasets import bundled as b;"
        "print(editcore.__file__, editcore_rome.__file__, b.workflow_folder(), b.default_study(),"
        "b.resources_folder(), sep='\\n')"
    )
    places = environment.run("python", "-c", code, cwd=study).stdout.splitlines()
    assert {Path(place).is_relative_to(environment.site) for place in places} == {True}
    assert not (home / "opened").exists(), (home / "opened").read_text()


@pytest.mark.parametrize(
    ("arguments", "shows"),
    [
        (["-n", "--cores", "8"], "Nothing to be done"),
        (["fetch", "-n", "--quiet", "rules"], "\nfetch "),
        (["--workflow-profile", "profiles/slurm", "-n", "-F", "--quiet", "rules"], "\nedit "),
    ],
)
def test_arguments_go_to_snakemake(
    environment: Environment, study: Path, arguments: list[str], shows: str
) -> None:
    done = environment.run("editcore", "run", *arguments, cwd=study)
    assert shows in done.stdout + done.stderr
