"""editcore and each plugin build into wheels that work without the rest of the repository."""

import json
from pathlib import Path

import pytest

from editcore.report.page.explorer import SCRIPTS
from tests.packages import editcore, install, run

ROOT = Path(__file__).parents[2]
PLUGINS = sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))
# Files that the library reads, besides its modules.
BESIDE = (
    "py.typed",
    "collapse/warning.json",
    "config/alarm.json",
    *(f"report/page/{name}.css" for name in ("page", "first", "menu")),
    *(f"report/page/{name}.html.jinja" for name in ("page", "first", "parts", "cases")),
    *(f"report/page/{name}.js" for name in ("menu", "scroll")),
    "report/page/explore.css",
    "report/page/explore.html.jinja",
    *(f"report/page/explore/{name}.js" for name in SCRIPTS),
    "report/papers/published.json",
    "report/page/vendor/LICENSE-chart.js.md",
    "report/page/vendor/chart.umd.min.js",
    "scaffold/template/module.py.jinja",
    "config.yaml",
    "workflow/Snakefile",
    "workflow/rules/common.smk",
    "workflow/template/config.yaml.jinja",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the library installed from its wheel."""
    folder = tmp_path_factory.mktemp("site")
    install(ROOT, folder)
    return folder


def test_the_library_s_wheel_has_all_that_it_reads(site: Path, tmp_path: Path) -> None:
    assert [name for name in BESIDE if not (site / "editcore" / name).is_file()] == []
    starts = ("editcore_lean.py", "editcore_start.py", "editcore_warm.py")
    assert [name for name in starts if not (site / name).is_file()] == []
    assert not (site / "tests").exists()
    where = run(site, "editcore.cli.help_page", cwd=tmp_path)
    assert where.returncode == 0, where.stderr
    assert where.stdout == (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_s_wheel_registers_its_editors_or_transforms(
    site: Path, tmp_path: Path, plugin: Path
) -> None:
    own = tmp_path / "site"
    install(plugin, own)
    (module,) = (folder.name for folder in plugin.iterdir() if folder.name.startswith("editcore_"))
    assert (own / module / "__init__.py").is_file()
    (metadata,) = own.glob("*.dist-info")
    assert "[editcore]" in (metadata / "entry_points.txt").read_text()
    done = editcore(own, "plugins", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["broken"] == []
    records = [*found["editors"], *found["delta_transforms"], *found["editor_wrappers"]]
    assert plugin.name in {record["distribution"] for record in records}
