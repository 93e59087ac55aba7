"""Documents, docstrings, messages and the report's words have no common misspelling."""

import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT
from tests.project.test_repository import tracked

SUFFIXES = (".md", ".ipynb", ".py", ".jinja", ".js", ".css", ".toml", ".cff", ".smk")
# Made-up names, misspelt keys that the code must refuse, and what others wrote.
OTHERS = re.compile(r"(plugins/[^/]+/)?tests/|resources/|editcore/report/page/vendor/")
MISSPELT = "rec" + "ieve"


def misspelt(*files: str) -> str:
    """What codespell finds with the settings of pyproject.toml."""
    command = [sys.executable, "-m", "codespell_lib", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.stderr or done.returncode, done.stderr
    return done.stdout


def test_no_text_has_a_common_misspelling(tmp_path: Path) -> None:
    files = [str(file.relative_to(ROOT)) for file in tracked(*SUFFIXES)]
    assert misspelt(*(file for file in files if not OTHERS.match(file))) == ""
    (tmp_path / "page.md").write_text(f"They {MISSPELT} edits.\n")
    assert MISSPELT in misspelt(str(tmp_path / "page.md"))
