"""Pages of the documentation that repeat the code agree with it."""

import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import yaml

from editcore.cli import COMMANDS
from editcore.config.telemetry import NAMES
from editcore.report.drawing.figures import save
from editcore.report.drawing.style import drawing
from refresh import rooms, telemetry

ROOT = Path(__file__).parents[2]
RENEW_ROOMS = "renew it: python -m refresh.rooms"


def test_the_commands_page_is_made_from_the_commands() -> None:
    # In a new process, as users run it: click caches properties of commands.
    made = subprocess.run(
        [sys.executable, "-m", "editcore.cli.help_page"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == made.stdout, (
        "renew it: python -m editcore.cli.help_page > docs/commands.md"
    )
    assert all(f"## editcore {command.name}\n" in made.stdout for command in COMMANDS)


def citation() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    return found


def test_the_citation_names_this_version_and_both_papers() -> None:
    from importlib.metadata import version

    cff = citation()
    assert cff["cff-version"] == "1.2.0"
    assert cff["version"] == version("editcore")
    assert {reference["type"] for reference in cff["references"]} == {"conference-paper"}
    assert len(cff["references"]) >= 2


def test_github_runs_what_the_ci_script_runs() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert any("bash .ci/run" in step.get("run", "") for step in steps)


def test_the_catalogue_s_file_names_files_that_exist() -> None:
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    usage = catalogue["usage"]
    assert set(usage) >= {"mandatory-flags", "software-stack-deployment", "report"}
    assert (ROOT / "config" / "README.md").is_file()


FIGURES = {"Butterfly Effect": (1, 2, 3, 4, 5), "Fall of ROME": (2, 4, 5)}
TABLES = {"Butterfly Effect": 3, "Fall of ROME": 5}


@pytest.mark.parametrize("paper", FIGURES)
def test_the_reproduction_page_has_every_figure_and_table(paper: str) -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    part = text.split(f"## The {paper}")[1].split("\n## ")[0]
    assert [n for n in FIGURES[paper] if f"### Figure {n}: " not in part] == []
    assert part.count("### Table") == TABLES[paper]
    entries = part.split("\n### ")[1:]
    assert [entry.splitlines()[0] for entry in entries if "\n- Ours: " not in entry] == []


def test_the_reproduction_page_names_sections_that_the_report_can_have() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    anchors = set(re.findall(r"`#([a-z-]+)`", text))
    code = "".join(
        file.read_text(encoding="utf-8")
        for file in (ROOT / "editcore" / "report").rglob("*")
        if file.suffix in (".py", ".jinja")
    )
    assert {name for name in anchors if f'"{name}"' not in code} == set()
    assert len(anchors) > 8


def test_the_rooms_of_the_design_page_are_those_of_the_code(tmp_path: Path) -> None:
    assert (ROOT / rooms.PAGE).read_text(encoding="utf-8") == rooms.page(ROOT), RENEW_ROOMS
    with drawing():
        save(rooms.draw(rooms.graph(ROOT / rooms.PACKAGE)), tmp_path / "rooms.svg")
    made, shown = (tmp_path / "rooms.svg").read_bytes(), (ROOT / rooms.PICTURE).read_bytes()
    assert made == shown, RENEW_ROOMS


def test_the_rule_graph_is_that_of_the_default_study(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    shutil.copy(ROOT / "config.yaml", tmp_path)
    command = [sys.executable, "-m", "snakemake", "--rulegraph"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', made, re.MULTILINE))
    edges = re.findall(r"^\s*(\d+) -> (\d+)$", made, re.MULTILINE)
    picture = unescape((ROOT / "docs" / "rulegraph.svg").read_text(encoding="utf-8"))
    drawn = dict(re.findall(r"<title>(\d+)</title>.*?>(\w+)</text>", picture, re.DOTALL))
    lines = re.findall(r"<title>(\d+)->(\d+)</title>", picture)
    assert {"all", "edit", "report"} <= set(names.values())
    assert sorted(drawn.values()) == sorted(names.values())
    assert {(drawn[a], drawn[b]) for a, b in lines} == {(names[a], names[b]) for a, b in edges}, (
        "CONTRIBUTING.md shows how to renew it"
    )


def test_the_page_of_streams_lists_the_telemetry_that_there_is() -> None:
    page = (ROOT / telemetry.PAGE).read_text(encoding="utf-8")
    assert telemetry.renewed(page) == page, "renew it: python -m refresh.telemetry"
    assert all(f"| `{name}` |" in page for name in NAMES)
