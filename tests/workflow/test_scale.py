"""The whole of both papers is planned quickly, into few jobs, on a machine without any model."""

import re
import resource
from pathlib import Path

from tests.studies import TEXTS, record, write_json
from tests.workflow.conftest import ROOT, StudyFolder

CASES = 21_919
LARGEST_STUDY = 2_000
DRY_RUN_SECONDS = 15


def test_both_papers_are_few_jobs_and_a_quick_dry_run(tmp_path: Path) -> None:
    data = tmp_path / "data"
    facts = [record(case, f"Subject{case}") for case in range(CASES)]
    write_json(data / "counterfact.json", facts)
    for name in ("hard", "normal"):
        write_json(data / f"{name}.json", facts[:107])
    write_json(data / "counterfact-train.json", facts[:2000])
    write_json(data / "ME-PPL_50.json", TEXTS * 13)
    write_json(data / "wikipedia.json", TEXTS)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, output = StudyFolder(tmp_path).snakemake(
        "--dry-run", "--quiet", "rules", config=ROOT / "config" / "paper.yaml"
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert status == 0, output[-3000:]
    jobs = {r: int(n) for r, n in re.findall(r"^(\w+) +(\d+)$", output, flags=re.MULTILINE)}
    assert jobs["total"] < LARGEST_STUDY, jobs
    assert jobs["edits"] >= 3 * 5 * CASES // 400
    assert {"values", "moments", "train", "sequences", "downstream", "mechanism"} <= {*jobs}, jobs
    # Its own time, since other processes share the machine.
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < DRY_RUN_SECONDS
