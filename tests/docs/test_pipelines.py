"""The examples for pipelines run as their services run them."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from editcore.cli import main
from tests.docs.checkout import Checkout
from tests.docs.pages import ROOT, code

WORKFLOW = ROOT / "docs" / "examples" / "guard.yml"
PAGE = "docs/pipelines.md"


def facts(path: Path) -> Path:
    """Two facts of the bundled world."""
    records = json.loads((ROOT / "resources" / "world" / "hard.json").read_text(encoding="utf-8"))
    path.write_text(json.dumps(records[:2], indent=2), encoding="utf-8")
    return path


def blocks() -> list[Any]:
    """The pieces of configuration in the page."""
    return [yaml.safe_load(block) for block in code(PAGE, "yaml")]


def test_the_workflow_installs_guards_and_uploads_what_it_wrote(tmp_path: Path) -> None:
    """Its run lines, in a working folder as its checkouts leave it."""
    workflow = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = workflow["jobs"].values()
    uses = [step for step in job["steps"] if "uses" in step]
    checkouts = [step.get("with", {}) for step in uses if "checkout" in step["uses"]]
    assert [each.get("path", ".") for each in checkouts] == [".", "editcore"]
    assert workflow["permissions"]["security-events"] == "write"
    (edits,) = workflow[True]["pull_request"]["paths"]  # YAML 1.1 reads the key `on` as true
    facts(tmp_path / edits)
    checkout = Checkout(tmp_path / "editcore")
    lines = [step["run"] for step in job["steps"] if "run" in step]
    assert len(lines) == 2
    for line in lines:
        done = subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=tmp_path,
            env=checkout.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 edits accepted." in done.stdout
    (upload,) = (step for step in uses if "upload-sarif" in step["uses"])
    written = tmp_path / upload["with"]["sarif_file"]
    assert json.loads(written.read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert "cancelled" in upload["if"], "also after a refusal"


def test_the_hook_takes_the_files_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pre-commit: the entry, the documented arguments, and the matching files of a commit."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    (used,) = next(block for block in blocks() if isinstance(block, list))
    assert len(next(block for block in code(PAGE, "yaml") if "- id:" in block).splitlines()) == 3
    assert used["id"] == hook["id"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    staged = ["README.md", facts(tmp_path / "edits.json").name]
    names = [name for name in staged if re.search(used["files"], name)]
    assert [name for name in staged if re.search(hook["files"], name)] == names
    program, *words = [*shlex.split(hook["entry"]), *used["args"], *names]
    assert program == "editcore"
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert "2 of 2 edits accepted." in done.stdout


def test_the_script_of_gitlab_writes_the_report_that_it_keeps() -> None:
    """The script itself is among the page's commands, which other tests run."""
    (job,) = next(block for block in blocks() if isinstance(block, dict)).values()
    assert job["artifacts"]["reports"]["junit"] in shlex.split(job["script"])
    assert job["script"] in " ".join(code(PAGE, "sh"))
