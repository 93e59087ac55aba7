"""Snakemake's scheduler wakes up when a job ends, and not once a second for every job before."""

from pathlib import Path

from tests.workflow.conftest import StudyFolder


def evaluations(folder: StudyFolder, *arguments: str) -> tuple[int, int]:
    """How often the open jobs of a study were evaluated, and how many jobs it ran."""
    jobs = ("--until", "prefixes", "rounding")  # six, of which all others wait for one core
    status, printed = folder.snakemake("--verbose", "--cores", "1", *jobs, *arguments)
    assert status == 0, printed
    return printed.count("Ready jobs: "), printed.count("Finished jobid: ")


def test_open_jobs_are_evaluated_when_a_job_ends(study_folder: StudyFolder, tmp_path: Path) -> None:
    evaluated, finished = evaluations(study_folder.copy(tmp_path))
    assert finished == 6
    assert evaluated <= 2 * finished


def test_a_limit_that_was_asked_for_stays(study_folder: StudyFolder, tmp_path: Path) -> None:
    given = ("--max-jobs-per-timespan", "50/1s")
    evaluated, finished = evaluations(study_folder.copy(tmp_path), *given)
    assert evaluated > 2 * finished
