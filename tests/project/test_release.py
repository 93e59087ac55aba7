"""A release has one version everywhere, its wheels are reproducible, and its actions are pinned."""

import re
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from refresh.release import build, main, projects, versions

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The files with versions, as they are for a release of 0.1.0."""
    for project in projects(ROOT):
        place = tmp_path / project.relative_to(ROOT)
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / "pyproject.toml", place)
    shutil.copy(ROOT / "CITATION.cff", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.1.0 (2026-12-01)\n\n## 0.0.1\n")
    return tmp_path


def checked(tree: Path, tag: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["--root", str(tree), "--check", tag])
    return result.exit_code, result.output


def test_one_version_everywhere_can_be_released(tree: Path) -> None:
    assert checked(tree, "v0.1.0") == (0, "")


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("plugins/editcore-rome/pyproject.toml", 'version = "0.1.0"', 'version = "0.1.1"',
         "plugins/editcore-rome/pyproject.toml: 0.1.1, not 0.1.0"),
        ("CHANGELOG.md", "0.1.0 (2026-12-01)", "Unreleased",
         "CHANGELOG.md, first section: Unreleased, not 0.1.0"),
        ("CITATION.cff", "version: 0.1.0", "version: 0.2.0", "CITATION.cff: 0.2.0, not 0.1.0"),
    ],
)  # fmt: skip
def test_another_version_anywhere_is_named(
    tree: Path, file: str, old: str, new: str, problem: str
) -> None:
    text = (tree / file).read_text()
    assert old in text
    (tree / file).write_text(text.replace(old, new))
    status, output = checked(tree, "v0.1.0")
    assert status == 1
    assert output.splitlines()[1:] == [problem]


def test_a_tag_of_another_version_or_form_is_refused(tree: Path) -> None:
    status, output = checked(tree, "v0.2.0")
    assert (status, len(output.splitlines())) == (1, 1 + len(list(versions(tree))))
    assert "not of the form" in checked(tree, "0.1.0")[1]


def test_a_wheel_depends_on_the_commit_alone(tmp_path: Path) -> None:
    wheels = []
    for name, mode in (("one", 0o644), ("two", 0o600)):
        copy = tmp_path / name
        shutil.copytree(ROOT / "plugins" / "editcore-noop", copy, copy_function=shutil.copyfile)
        for file in copy.rglob("*.py"):
            file.chmod(mode)
        wheels.append(build(copy, tmp_path / f"{name}-wheels").read_bytes())
    assert wheels[0] == wheels[1]


def test_the_extra_editors_is_every_plugin_and_study_has_all_that_a_study_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    plugins = {folder.name for folder in projects(ROOT) if folder.parent.name == "plugins"}
    assert {line.partition(">")[0] for line in extras["editors"]} == plugins
    assert extras["study"] == ["editcore[downstream,editors,workflow,world]"]
    assert {"downstream", "editors", "workflow", "world"} <= extras.keys()


def test_the_workflow_releases_signed_tags_only_with_pinned_actions_and_few_rights() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads `on` as true
    jobs = workflow["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert used and all(PINNED.fullmatch(action) for action in used)
    assert workflow["permissions"] == {}
    assert jobs["build"]["permissions"] == {"contents": "read"}
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert jobs["publish"]["environment"] == "pypi"
    assert jobs["publish"]["needs"] == "build"
    commands = "\n".join(step.get("run", "") for step in jobs["build"]["steps"])
    assert ".verification.verified" in commands
    assert "refresh.release --check" in commands
