"""A study of random models runs from facts to report, and reruns only what it must."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from tests.report.browser import browser, program
from tests.studies import SUBJECTS, record, write_json
from tests.workflow.conftest import MODELS, StudyFolder, editors

DEADLINE_SECONDS = 900


def jobs(output: str) -> dict[str, int]:
    """The number of jobs of each rule in a dry run."""
    return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}


def test_a_folder_of_any_architecture_runs_from_facts_to_report(finished: StudyFolder) -> None:
    cases = pl.read_parquet(finished.path / "results" / "summary" / "cases.parquet")
    assert cases.height == len(MODELS) * 2 * 2
    assert set(cases["status"]) == {"ok"}, cases["status"].to_list()
    assert cases["perplexity"].null_count() == 0
    verdicts = pl.read_parquet(finished.path / "results" / "summary" / "verdicts.parquet")
    assert set(verdicts["model"]) == set(MODELS)
    updates = pl.read_parquet(finished.path / "results" / "summary" / "mechanism-updates.parquet")
    assert set(updates["model"]) == set(MODELS)
    page = (finished.path / "results" / "report.html").read_text(encoding="utf-8")
    assert "Where the keys are" in page
    assert all(name in page for name in (*MODELS, "c-rome", "Coral"))


def test_results_are_hive_partitions(finished: StudyFolder) -> None:
    pattern = finished.path / "results" / "edits" / "**" / "*.parquet"
    rows = pl.scan_parquet(str(pattern), hive_partitioning=True).collect()
    assert set(rows["model"]) == set(MODELS)
    assert set(rows["editor"]) == {"rome", "c-rome"}


def test_a_second_run_has_nothing_to_do(finished: StudyFolder) -> None:
    status, output = finished.snakemake()
    assert status == 0, output
    assert "Nothing to be done" in output, output


def test_one_editor_s_option_reruns_its_shards_alone(finished: StudyFolder, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path)
    folder.configure(editors=editors(steps=2))
    status, output = folder.snakemake("--dry-run")
    assert status == 0, output
    assert jobs(output)["edit"] == len(MODELS)
    assert "moments" not in jobs(output)
    assert "prefixes" not in jobs(output)
    assert "with rome on" in output
    assert "with c-rome on" not in output


def test_tasks_come_after_all_edits_and_change_none(finished: StudyFolder, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path)
    folder.configure(downstream={"tasks": ["world_questions"], "count": 2})
    status, output = folder.snakemake("--dry-run")
    assert status == 0, output
    found = jobs(output)
    assert (found["downstream"], found["correlate"], found["report"]) == (len(MODELS), 1, 1)
    assert not {"edit", "moments", "values"} & set(found)


def test_a_further_layer_is_measured_and_no_finished_shard_runs_again(
    finished: StudyFolder, tmp_path: Path
) -> None:
    folder = finished.copy(tmp_path)
    deeper = {"uses": "c-rome", "options": {"layer": 2, "steps": 3}}
    folder.configure(editors=editors() | {"deeper": deeper})
    status, output = folder.snakemake("--dry-run")
    assert status == 0, output
    assert (jobs(output)["moments"], jobs(output)["edit"]) == (len(MODELS), len(MODELS))
    assert output.count("with deeper on") == len(MODELS)
    assert "with rome on" not in output
    assert "with c-rome on" not in output


def test_a_spectrum_and_a_norm_anchor_are_made_for_the_editor_that_reads_them(
    finished: StudyFolder, tmp_path: Path
) -> None:
    folder = finished.copy(tmp_path)
    more = [record(number, word) for number, word in enumerate(SUBJECTS * 3)]
    write_json(folder.path / "data" / "more.json", more)
    anchored = {
        "uses": "alphaedit",
        "options": {"layers": [1], "steps": 2, "kept_share": 0.5},
        "transforms": [{"uses": "nas", "options": {"facts": "data/more.json", "cases": 10}}],
    }
    folder.configure(editors=editors() | {"anchored": anchored})
    table = "results/edits/model=gpt2/editor=anchored/dataset=facts/shard-000.parquet"
    status, output = folder.snakemake(table)
    assert status == 0, output
    assert {"spectrum": 1, "anchor": 1, "edit": 1}.items() <= jobs(output).items()
    assert "moments" not in jobs(output), "those of this layer exist"
    assert set(pl.read_parquet(folder.path / table)["status"]) == {"ok"}
    status, output = folder.snakemake("--dry-run", table)
    assert "Nothing to be done" in output, output


@pytest.mark.parametrize(
    "moments", [{"path": "data/texts.json", "tokens": 400}, {"path": "data/other.txt"}]
)
def test_moments_of_other_texts_or_tokens_run_every_shard_again(
    finished: StudyFolder, tmp_path: Path, moments: dict[str, object]
) -> None:
    folder = finished.copy(tmp_path)
    (folder.path / "data" / "other.txt").write_text("Harbor is made by Osdor.\n")
    folder.configure(moments=moments)
    status, output = folder.snakemake("--dry-run")
    assert status == 0, output
    assert (jobs(output)["moments"], jobs(output)["edit"]) == (len(MODELS), 2 * len(MODELS))


def test_a_model_that_changed_is_edited_again(finished: StudyFolder, tmp_path: Path) -> None:
    from editcore.testing.models import save_tiny_model

    folder = finished.copy(tmp_path)
    save_tiny_model("llama", folder.path / "models" / "llama", seed=1)
    status, output = folder.snakemake("--dry-run")
    assert status == 0, output
    assert (jobs(output)["edit"], jobs(output)["moments"], jobs(output)["prefixes"]) == (2, 1, 1)


def wait_for(process: "subprocess.Popen[str]", folder: StudyFolder, count: int) -> None:
    """Wait until there are `count` shards."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while len(folder.files("edits")) < count:
        assert process.poll() is None, "the run ended before it could be aborted"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_an_aborted_run_resumes(finished: StudyFolder, tmp_path: Path) -> None:
    folder = finished.copy(tmp_path)
    for kind in ("edits", "summary"):
        shutil.rmtree(folder.path / "results" / kind)
    (folder.path / "results" / "report.html").unlink()
    process = subprocess.Popen(
        folder.command("--cores", "1"),
        cwd=folder.path,
        env=folder.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    wait_for(process, folder, count=1)
    (first,) = folder.files("edits")
    # One job at a time: once there is a second shard, Snakemake has recorded the first.
    wait_for(process, folder, count=2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(DEADLINE_SECONDS) != 0
    assert len(folder.files("edits")) < len(MODELS) * 2
    status, output = folder.snakemake()
    assert status == 0, output
    assert len(folder.files("edits")) == len(MODELS) * 2
    assert jobs(output)["edit"] < len(MODELS) * 2
    model, editor = re.search(r"model=(.+)/editor=(.+)/dataset=", first).groups()  # type: ignore[union-attr]
    assert f"Edit {model} with {editor} on" not in output


def test_snakemake_s_own_report_contains_page_and_figures(finished: StudyFolder) -> None:
    status, output = finished.snakemake("--report", "snakemake-report.html")
    assert status == 0, output
    text = (finished.path / "snakemake-report.html").read_text(encoding="utf-8")
    for words in ("Facts were edited into language models", "report.html", "perplexity-model=gpt2"):
        assert words in text


def without_network() -> bool:
    """Whether this user may run a command in a network namespace of its own."""
    probe = ["unshare", "-rn", "true"]
    return bool(shutil.which("unshare")) and not subprocess.run(probe, check=False).returncode


@pytest.mark.skipif(not without_network(), reason="no network namespace may be made here")
def test_snakemake_s_report_is_made_and_seen_without_a_network(finished: StudyFolder) -> None:
    made = subprocess.run(
        ["unshare", "-rn", *finished.command("--report", "offline.html")],
        cwd=finished.path,
        capture_output=True,
        text=True,
        check=False,
        env=finished.environment,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    if program() is None:
        pytest.skip("no Chromium here: the report was made, but not looked at in a browser")
    with browser() as page:
        page.open(finished.path / "offline.html")
        assert "Facts were edited into language models" in page.value("document.body.innerText")
        figures = "[...document.querySelectorAll('a')].find((a) => a.innerText.trim() == 'Figures')"
        page.value(f"{figures}.click()")
        assert "perplexity-model=gpt2" in page.value("document.body.innerText")
        assert all(url.startswith(("file:", "data:")) for url in page.requests())
        # Tailwind, which is embedded, recommends its command line on the console.
        assert not [line for line in page.complaints() if "cdn.tailwindcss.com" not in line]


def test_only_the_main_process_writes_job_files(study_folder: StudyFolder, tmp_path: Path) -> None:
    folder = study_folder.copy(tmp_path)
    target = "results/artefacts/model=gpt2/prefixes.json"
    # As a cluster's executor starts the job on its node.
    status, output = folder.snakemake("--dry-run", "--mode", "remote", target)
    assert (status, jobs(output)["prefixes"]) == (0, 1), output
    assert not (folder.path / "results" / "jobs").exists()
    status, output = folder.snakemake("--dry-run", target)
    assert (status, jobs(output)["prefixes"]) == (0, 1), output
    assert (folder.path / "results" / "jobs" / "study.json").is_file()
