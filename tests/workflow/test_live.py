"""A study as its user watches it: in a terminal, in a file, with a failure, and as a dry run."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

import pytest

from tests.workflow.conftest import StudyFolder

SECONDS = 240
FRAME = re.compile(r"\d+ of \d+ jobs? done[^\r\n]*")


@pytest.fixture(scope="module")
def small(study_folder: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """One model, one editor, a sequence; nothing has run."""
    folder = study_folder.copy(tmp_path_factory.mktemp("small"))
    editors = {"rome": {"options": {"layer": 1, "steps": 3, "second_moment": False}}}
    folder.configure(models={"gpt2": {"source": "models/gpt2"}}, editors=editors, mechanism=None)
    return folder


def in_terminal(
    folder: StudyFolder,
    *arguments: str,
    columns: int = 80,
    press: Callable[[str], bool] = lambda text: False,
    **environment: str,
) -> tuple[int, str]:
    """The status and output of the study in a terminal; Ctrl-C is pressed once `press` is true."""
    own, other = pty.openpty()
    ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {
        n: v for n, v in folder.environment.items() if n not in ("NO_COLOR", "EDITCORE_COMMAND")
    }
    run = subprocess.Popen(
        folder.command(*arguments), cwd=folder.path, stdin=other, stdout=other, stderr=other,
        env={**kept, "TERM": "xterm", **environment}, start_new_session=True, close_fds=True,
    )  # fmt: skip
    os.close(other)
    text, pressed, deadline = "", False, time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if select.select([own], [], [], 0.2)[0]:
            try:
                text += os.read(own, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                break
        if not pressed and press(text):
            pressed = True
            os.killpg(run.pid, signal.SIGINT)
    os.close(own)
    return run.wait(timeout=SECONDS), text.replace("\r\n", "\n")


def frames(text: str) -> list[str]:
    """Each state that the view was drawn in; drawing begins by moving up and clearing."""
    return [part for part in re.split(r"\x1b\[\d+F\r\x1b\[J", text) if FRAME.search(part)]


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[\d*[mFJ]|\r", "", text)


def test_a_terminal_shows_the_running_study_and_then_its_result(
    small: StudyFolder, tmp_path: Path
) -> None:
    folder = small.copy(tmp_path)
    status, text = in_terminal(folder, columns=60)
    assert status == 0, text
    drawn = frames(text)
    assert len(drawn) > 3
    assert any("> Edit gpt2 with rome on facts, shard 000" in frame for frame in drawn)
    for frame in drawn[1:-1]:
        assert max(map(len, without_escapes(frame).splitlines())) < 60
    end = text.rpartition("\x1b[J")[2]
    assert re.search(r"^Done: \d+ jobs in ", end, re.MULTILINE), end
    assert re.search(r"^  rome  gpt2 \d of 2$", end, re.MULTILINE), end
    assert end.rstrip().endswith("The page: results/report.html")
    assert "Reason:" not in text and "\x1b[?25l" not in text


def test_a_file_gets_a_line_for_the_start_and_end_of_each_job(
    small: StudyFolder, tmp_path: Path
) -> None:
    folder = small.copy(tmp_path)
    status, output = folder.snakemake()
    assert status == 0, output
    assert "\x1b" not in output and "Reason" not in output
    title = "Edit gpt2 with rome on facts, shard 000"
    assert re.search(rf"^\d\d:\d\d:\d\d  started   {title}$", output, re.MULTILINE)
    assert re.search(rf"^\d\d:\d\d:\d\d  finished  {title} \(\d+ s\)$", output, re.MULTILINE)
    assert re.search(r"^edit +1$", output, re.MULTILINE)
    assert output.rstrip().endswith("The page: results/report.html")
    jobs = int(re.search(r"^total +(\d+)$", output, re.MULTILINE)[1])  # type: ignore[index]
    assert len(output.splitlines()) < 2 * jobs + 40

    status, output = folder.snakemake("--quiet", "rules")
    assert status == 0 and "Nothing to be done" in output


def test_a_failed_job_is_shown_with_the_end_of_its_log(small: StudyFolder, tmp_path: Path) -> None:
    folder = small.copy(tmp_path)
    weights = folder.path / "models" / "gpt2" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    for status, text in (folder.snakemake(), in_terminal(folder)):
        output = without_escapes(text)
        assert status == 1, output
        assert re.search(r"^FAILED after \d+ s: .*gpt2", output, re.MULTILINE), output
        assert "results/logs/prefixes/model=gpt2.log" in output
        assert "model.safetensors" in output, "what the log contains"
        assert re.search(r"^Not finished: 0 of \d+ jobs done", output, re.MULTILINE), output


def test_ctrl_c_leaves_the_sentence_and_a_clean_terminal(
    small: StudyFolder, tmp_path: Path
) -> None:
    folder = small.copy(tmp_path)
    status, text = in_terminal(folder, press=lambda text: len(frames(text)) > 2, NO_COLOR="1")
    assert status != 0
    before, sentence, after = text.partition("The study was interrupted.")
    assert sentence, text
    assert before.rstrip("\n").endswith("\x1b[J"), "the view is cleared"
    assert not FRAME.search(after) and "\x1b" not in after, after
    assert "Not finished" not in text and "\x1b[1m" not in text


def test_a_dry_run_is_a_table_and_the_titles_of_its_jobs(small: StudyFolder) -> None:
    for status, output in (small.snakemake("-n"), in_terminal(small, "-n")):
        assert status == 0, output
        assert re.search(r"^edit +1$", output, re.MULTILINE), output
        assert "  Edit gpt2 with rome on facts, shard 000" in output.splitlines()
        assert "Reason" not in output and "dry-run" not in output


def test_snakemake_s_own_output_is_there_for_those_who_ask(small: StudyFolder) -> None:
    status, output = small.snakemake("-n", "--verbose")
    assert status == 0
    assert "Reason:" in output and "Job stats:" in output
