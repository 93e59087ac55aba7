"""A change of a model's files is whole after any kill, or comes out without a trace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from editcore.cli import main
from tests.model_folders import contents, sharded, write_delta

ROOT = Path(__file__).parents[2]
MEMORY = Path("/dev/shm")


def limited(most: int) -> str:
    """A program that runs editcore; the system kills it once it writes more bytes to a file."""
    return (
        "import resource, signal, sys; from editcore.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, {most}))\n"
        "main(sys.argv[1:])"
    )


@pytest.mark.parametrize(
    ("limit", "written"), [(4_096, "the record"), (40_000, "the first file of weights")]
)
def test_a_kill_while_bytes_are_written_leaves_nothing_once_the_next_change_is_out(
    tmp_path: Path, limit: int, written: str
) -> None:
    model, delta = sharded(tmp_path / "model"), write_delta(tmp_path / "delta.safetensors")
    before = contents(model)
    arguments = ["apply", str(delta), str(model), "--in-place"]
    killed = subprocess.run([sys.executable, "-c", limited(limit), *arguments], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert len(contents(model)) > len(before), f"{written} was begun"
    for command in (arguments, ["revert", str(model), "--all"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    assert contents(model) == before


@pytest.mark.parametrize(
    ("kind", "limit", "written"),
    [
        ("peft", 4_000, "adapter_model.safetensors"),
        ("gguf-lora", 4_000, "adapter.gguf"),
        ("model", 40_000, "model-00001-of-00003.safetensors"),
    ],
)
def test_an_export_killed_in_the_middle_of_a_file_is_gone_once_the_next_is_made(
    tmp_path: Path, kind: str, limit: int, written: str
) -> None:
    model = sharded(tmp_path / "model")
    delta = write_delta(tmp_path / "delta.safetensors", rank=8)
    before = contents(tmp_path)
    to = ["--format", kind, "--out", str(tmp_path / "out")]
    arguments = ["export", str(delta), str(model), *to]
    killed = subprocess.run([sys.executable, "-c", limited(limit), *arguments], check=False)
    assert killed.returncode == -signal.SIGXFSZ
    begun = contents(tmp_path / ".out.editcore.partial")
    assert begun
    assert len(begun.get(written, b"")) <= limit, "a temporary name, or not complete"
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert {file.name for file in tmp_path.iterdir()} == {"model", delta.name, "out"}
    assert (tmp_path / "out" / written).stat().st_size > limit
    assert {name: contents(tmp_path)[name] for name in before} == before


def test_kills_and_races_leave_whole_files(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- soak files: start -->\nold\n<!-- soak files: end -->\nafter\n")
    short = ["--kills", "8", "--races", "5", "--no-damage", "--page", str(page)]
    # Kills, unlike a loss of power, do not ask what has reached the disk; memory is faster.
    where = {"TMPDIR": str(MEMORY)} if os.access(MEMORY, os.W_OK) else {}
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "files", *short],
        capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | where,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "two changes at once: 2: 2 both kept" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 failed"
    written = page.read_text()
    assert "| two changes at once | 2 | 2 both kept |" in written
    assert "of which 0 failed." in written
    assert "old\n" not in written
    assert written.startswith("before\n")
    assert written.endswith("after\n")
