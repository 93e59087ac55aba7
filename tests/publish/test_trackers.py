"""A finished study reaches Weights & Biases and MLflow whole, in one run however often."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from editcore.cli import main
from editcore.config.collapse import CollapseSection
from editcore.config.study import parse
from editcore.planning.study import StudyList
from editcore.publish.study import finished
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from editcore.summary.edits import write_edits
from tests import tracker_doubles
from tests.rows import study_rows
from tests.tracker_doubles import Tracker

RAW = {
    "models": {"small": {"source": "tiny"}, "large": None},
    "editors": {"alpha": {"options": {"layer": 2}}, "beta": None},
    "datasets": {"hard": {"path": "hard.json"}, "normal": {"path": "normal.json"}},
}
DOUBLES: dict[str, Callable[[], Tracker]] = {
    "wandb": tracker_doubles.wandb,
    "mlflow": tracker_doubles.mlflow,
}


def results(folder: Path, rule: CollapseSection | None = None) -> Path:
    """The results folder of a study that has ended."""
    (folder / "jobs").mkdir(parents=True)
    (folder / "figures").mkdir()
    job = {"model": {"name": "small"}, "editor": {"label": "alpha"}, "dataset": {"name": "hard"}}
    write_table(folder / "shard.parquet", study_rows(8, 4), EDITS, {"versions": {}, "job": job})
    write_edits([folder / "shard.parquet"], folder / "summary", rule or CollapseSection())
    study = StudyList(edits={}, sequences={}, scores={}, config=parse(RAW, "test"))
    (folder / "jobs" / "study.json").write_text(study.model_dump_json())
    (folder / "figures" / "one.svg").write_text("<svg/>")
    (folder / "report.html").write_text("<p>report</p>")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results(tmp_path_factory.mktemp("finished") / "results")


@pytest.fixture(params=DOUBLES)
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    """One of the trackers, in place of its library."""
    double = DOUBLES[request.param]()
    monkeypatch.setitem(sys.modules, request.param, double.module)
    return double


def publish(folder: Path, tracker: Tracker, *more: str) -> Result:
    command = ["publish", str(folder), "--to", tracker.module.__name__, "--name", "ours", *more]
    return CliRunner().invoke(main, command)


def test_a_run_has_the_numbers_configuration_and_files_of_the_study(
    folder: Path, tracker: Tracker
) -> None:
    done = publish(folder, tracker)
    assert done.exit_code == 0, done.output
    (((project, _), run),) = tracker.runs.items()
    assert project == "ours" and run.ended
    cases = pl.read_parquet(folder / "summary" / "cases.parquet").filter(status="ok")
    hard = cases.filter(model="small", editor="alpha", dataset="hard")
    of_group = {name: run.metrics[f"small/alpha/hard/{name}"] for name in ("edits", "failed")}
    assert of_group == {"edits": hard.height + 1, "failed": 1}
    for name, share in (
        ("collapsed_share", hard["collapsed"].mean()),
        ("damaged_share", (hard["grade"] == "damaged").mean()),
        ("ratio_median", hard["perplexity_ratio"].median()),
        ("efficacy_mean", hard["efficacy"].mean()),
    ):
        assert run.metrics[f"small/alpha/hard/{name}"] == pytest.approx(share), name
    assert json.dumps(run.config).count("hard.json") == 1
    assert run.files["report.html"] == b"<p>report</p>"
    assert run.files["figures/one.svg"] == b"<svg/>"
    for name in ("cases", "verdicts", "warning"):
        file = f"summary/{name}.parquet"
        assert run.files[file] == (folder / file).read_bytes()
        assert file in done.stdout
    assert len(run.files) == 5


def test_the_table_of_weights_and_biases_is_that_of_the_verdicts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = tracker_doubles.wandb()
    monkeypatch.setitem(sys.modules, "wandb", double.module)
    publish(folder, double)
    (run,) = double.runs.values()
    table = run.metrics["verdicts"]
    sent = pl.DataFrame(table.data, schema=list(table.columns), orient="row", infer_schema_length=9)
    verdicts = pl.read_parquet(folder / "summary" / "verdicts.parquet")
    assert sent.select("model", "editor", "dataset", "n", "n_collapsed").sort(pl.all()).rows() == (
        verdicts.select("model", "editor", "dataset", "n", "n_collapsed").sort(pl.all()).rows()
    )


def test_publishing_again_renews_the_run_and_other_results_are_another_run(
    folder: Path, tracker: Tracker, tmp_path: Path
) -> None:
    for _ in range(2):
        assert publish(folder, tracker).exit_code == 0
    assert len(tracker.runs) == 1
    other = results(tmp_path / "results", CollapseSection(ratio=1.01))
    assert finished(other).identity != finished(folder).identity
    assert publish(other, tracker).exit_code == 0
    assert len(tracker.runs) == 2


def test_a_list_sends_nothing(folder: Path, tracker: Tracker) -> None:
    listed = publish(folder, tracker, "--list")
    assert (listed.exit_code, tracker.runs) == (0, {})
    assert "report.html" in listed.stdout


def test_a_study_without_a_report_is_not_finished(tmp_path: Path, tracker: Tracker) -> None:
    (tmp_path / "jobs").mkdir()
    done = publish(tmp_path, tracker)
    assert done.exit_code == 2
    assert "contains no finished study" in done.output


@pytest.mark.parametrize("name", DOUBLES)
def test_a_missing_library_is_one_sentence_with_the_extra(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    done = CliRunner().invoke(main, ["publish", str(folder), "--to", name, "--name", "ours"])
    assert done.exit_code == 2
    assert f"install editcore[{name}]" in done.output


def test_a_service_that_refuses_is_one_sentence_and_the_next_run_resumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = tracker_doubles.wandb()
    monkeypatch.setitem(sys.modules, "wandb", double.module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker_doubles.Artifact, "add_file", lambda *_, **__: 1 / 0)
        done = publish(folder, double)
    assert done.exit_code == 2
    assert "ours cannot be written (division by zero); log in with `wandb login`" in done.output
    assert [run.ended for run in double.runs.values()] == [False]
    assert publish(folder, double).exit_code == 0
    assert [run.ended for run in double.runs.values()] == [True]
