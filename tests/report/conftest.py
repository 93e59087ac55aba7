"""A synthetic study, summarised once for all tests of the report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.config.collapse import CollapseSection
from editcore.config.study import StudyConfig, parse
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from editcore.report import write_report
from editcore.report.data import ReportData, read
from editcore.report.papers.published import content
from editcore.summary import edits
from tests.report.explorer import plain_page
from tests.rows import study_rows

Rows = list[dict[str, Any]]
MakeStudy = Callable[[Rows], ReportData]
STAGES: dict[str, Any] = {
    "sequences": {},
    "downstream": {"tasks": ["piqa"]},
    "layers": {},
    "answers": {},
    "mechanism": {"editor": "alpha", "hard": "hard", "normal": "normal"},
}


@pytest.fixture(scope="session")
def config() -> StudyConfig:
    """Two models, two editors, hard and normal cases."""
    raw = {
        "models": {"small": {"source": "tiny"}, "large": None},
        "editors": {"alpha": {"options": {"layer": 2}}, "beta": None},
        "datasets": {"hard": {"path": "hard.json"}, "normal": {"path": "normal.json"}},
        **STAGES,
    }
    return parse(raw, "test")


@pytest.fixture(scope="session")
def with_papers() -> StudyConfig:
    """The same study with the papers' tables and figures; `alpha` is the papers' editor."""
    raw = {
        "models": {"small": {"source": "tiny"}, "large": None},
        "editors": {
            "alpha": {"uses": content()["editors"][content()["subject"]], "options": {"layer": 2}},
            "beta": None,
        },
        "datasets": {"hard": {"path": "hard.json"}, "normal": {"path": "normal.json"}},
        **STAGES,
        "report": {"papers": True},
    }
    return parse(raw, "test")


def summarise(rows: Rows, folder: Path) -> Path:
    """The summary folder of one shard with these rows."""
    spec = {"label": "alpha", "distribution": "editcore-alpha", "version": "0.3"}
    job = {"model": {"name": "small"}, "editor": spec, "dataset": {"name": "hard"}}
    provenance = {"versions": {"torch": "2.13"}, "job": job}
    write_table(folder / "shard.parquet", rows, EDITS, provenance)
    edits.write_edits([folder / "shard.parquet"], folder / "summary", CollapseSection())
    return folder / "summary"


@pytest.fixture(scope="session")
def summary_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The summary of the whole synthetic study."""
    return summarise(study_rows(20, 30), tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="session", params=[False, True], ids=["study", "study and papers"])
def report(
    request: pytest.FixtureRequest,
    summary_dir: Path,
    config: StudyConfig,
    with_papers: StudyConfig,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The page of the whole synthetic study, without and with the papers' tables and figures."""
    folder = tmp_path_factory.mktemp("page")
    chosen = with_papers if request.param else config
    write_report(summary_dir, folder / "figures", folder / "report.html", chosen)
    assert len(list((folder / "figures").glob("*.svg"))) == (15 if request.param else 13)
    return folder / "report.html"


@pytest.fixture(scope="session")
def study(summary_dir: Path, config: StudyConfig) -> ReportData:
    """The whole synthetic study."""
    return read(summary_dir, config)


@pytest.fixture
def make_study(tmp_path: Path, config: StudyConfig) -> MakeStudy:
    """`make_study(rows) -> ReportData`."""
    return lambda rows: read(summarise(rows, tmp_path), config)


@pytest.fixture(scope="session")
def plain(study: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the whole synthetic study without figures and further sections."""
    return plain_page(study, tmp_path_factory.mktemp("plain"))
