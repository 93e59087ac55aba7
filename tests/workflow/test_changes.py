"""A change of code, options, metrics or thresholds reruns exactly the shards that it affects.

One small study is run; each test changes one thing in a copy and reads what Snakemake would run.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.testing.models import save_tiny_model
from tests.studies import study_config, write_config, write_data
from tests.workflow.conftest import ROOT, StudyFolder

METRIC = '''"""A metric that counts nothing."""
from editcore import MetricInfo, hookimpl

EDITCORE_HOOKSPEC = 2

@hookimpl
def editcore_metrics():
    yield MetricInfo("constant", "Says 1.", "", "constant_metric:constant", ("constant",))

def constant(case):
    return {"constant": 1.0}
'''
Jobs = set[str]
EVERY_EDIT = {"edit rome", "edit codebook"}
EVERY_SEQUENCE = {"sequence rome", "sequence codebook"}
# Jobs that depend only on tables of edits.
OF_EDITS = {"summarise", "mechanism_tables", "correlate", "report"}
OF_SEQUENCES = {"summarise_sequences", "report"}
# Jobs that also depend on the manifest, which contains the config.
OF_STUDY = OF_EDITS | OF_SEQUENCES | {"summarise_rounding"}


def config(**sections: Any) -> dict[str, Any]:
    """Every stage on one model, with one of our editors and one of a third party."""
    editors = {
        "rome": {"options": {"layer": 1, "steps": 2}},
        "codebook": {"options": {"layer": 1, "steps": 2}},
    }
    base = {
        "models": {"gpt2": {"source": "models/gpt2"}},
        "editors": editors,
        "datasets": {"facts": {"path": "data/facts.json", "limit": 2}},
        "metrics": ["accuracy", "constant"],
        "sequences": {"edits": 2, "after_collapse": "continue"},
        "downstream": {"tasks": ["world_questions"], "count": 1, "top": 0, "limit": 1},
        "mechanism": {"editor": "rome", "hard": "facts", "normal": "facts"},
    }
    return study_config(**(base | sections))


def install(folder: Path, name: str, version: str) -> None:
    """Install a module on the path as a plugin, as pip's records do."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[editcore]\nplugin = {name}\n")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The study after a whole run; copy it before changing it."""
    folder = StudyFolder(tmp_path_factory.mktemp("changes"))
    save_tiny_model("gpt2", folder.path / "models" / "gpt2")
    write_data(folder.path)
    source = ROOT / "tests" / "plugin_package" / "src" / "editcore_codebook"
    shutil.copytree(source, folder.plugins / "editcore_codebook")
    install(folder.plugins, "editcore_codebook", "0.3.0")
    (folder.plugins / "constant_metric.py").write_text(METRIC)
    install(folder.plugins, "constant_metric", "1.0")
    write_config(folder.path / "study.yaml", config())
    status, output = folder.snakemake()
    assert status == 0, output
    return folder


@pytest.fixture
def rerun(done: StudyFolder, tmp_path: Path) -> Callable[..., Jobs]:
    """A function that changes a copy of the study and returns the jobs that Snakemake would run."""
    folder = done.copy(tmp_path)

    def look(edited: str = "", **sections: Any) -> Jobs:
        if edited:
            file = folder.plugins / edited
            file.write_text(file.read_text(encoding="utf-8") + "\n# Another line.\n")
        write_config(folder.path / "study.yaml", config(**sections))
        status, output = folder.snakemake("--dry-run")
        assert status == 0, output
        return jobs(output)

    return look


def jobs(output: str) -> Jobs:
    """The jobs of a dry run by rule; for jobs of an editor, with the name in their message."""
    counts = re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)
    found = {rule for rule, _ in counts} - {"all", "total"}
    for rule, words in (
        ("edit", r"Edit gpt2 with ([\w-]+) on "),
        ("sequence", r"Apply the facts edits to gpt2 one after another with ([\w-]+)$"),
    ):
        editors = re.findall(rf"^  {words}", output, re.MULTILINE)
        assert str(len(editors)) == dict(counts).get(rule, "0")
        found = found - {rule} | {f"{rule} {editor}" for editor in editors}
    return found


def test_nothing_changed_and_nothing_runs(rerun: Callable[..., Jobs]) -> None:
    assert rerun() == set()


def test_an_editor_s_new_code_runs_its_own_shards_again(rerun: Callable[..., Jobs]) -> None:
    own = {"edit codebook", "sequence codebook"}
    assert rerun(edited="editcore_codebook/editor.py") == own | OF_EDITS | OF_SEQUENCES


def test_an_editor_s_new_options_run_its_own_shards_again(rerun: Callable[..., Jobs]) -> None:
    changed = config()["editors"] | {"codebook": {"options": {"layer": 1, "steps": 3}}}
    own = {"edit codebook", "sequence codebook"}
    assert rerun(editors=changed) == own | OF_STUDY


def test_a_metric_s_new_code_measures_every_edit_again(rerun: Callable[..., Jobs]) -> None:
    assert rerun(edited="constant_metric.py") == EVERY_EDIT | OF_EDITS | {"downstream"}


def test_other_metrics_measure_every_edit_again(rerun: Callable[..., Jobs]) -> None:
    assert rerun(metrics=["accuracy"]) == EVERY_EDIT | OF_STUDY | {"downstream"}


def test_another_threshold_judges_all_again_and_runs_no_model(rerun: Callable[..., Jobs]) -> None:
    other = {"ratio": 5.0, "perplexity": 500.0, "damage": 0.7}
    assert rerun(collapse=other) == OF_STUDY


def test_sequences_that_stop_at_collapse_run_again(rerun: Callable[..., Jobs]) -> None:
    stopping = {"edits": 2, "after_collapse": "stop"}
    assert rerun(sequences=stopping) == EVERY_SEQUENCE | OF_STUDY


def test_another_number_of_task_items_reruns_the_tasks_alone(rerun: Callable[..., Jobs]) -> None:
    tasks = {"tasks": ["world_questions"], "count": 1, "top": 0, "limit": 2}
    assert rerun(downstream=tasks) == {"downstream"} | OF_STUDY
