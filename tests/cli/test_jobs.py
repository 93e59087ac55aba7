"""The table of the workflow's commands agrees with the functions, jobs and rules in it."""

import inspect
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from editcore.cli import COMMANDS, FOR_PEOPLE, OF_THE_WORKFLOW, main
from editcore.cli.jobs import TABLE, JobCommand
from editcore.planning import jobs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_a_command_gives_its_function_the_job_and_a_path_for_each_output(entry: JobCommand) -> None:
    first, *others = inspect.signature(entry.resolve()).parameters.values()
    name = first.annotation if isinstance(first.annotation, str) else first.annotation.__name__
    assert (name, issubclass(entry.kind(), jobs.Job)) == (entry.kind().__name__, True)
    paths = [Path if output.required else Path | None for output in entry.outputs]
    assert [each.annotation for each in others[: len(paths)]] == paths
    further = others[len(paths) :]
    assert all(each.default is not inspect.Parameter.empty for each in further)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_outputs_reach_the_function_in_the_table_s_order(
    entry: JobCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[object] = []
    monkeypatch.setattr(jobs, "read", lambda kind, path: (kind, path))
    monkeypatch.setattr(JobCommand, "resolve", lambda self: lambda *given: got.extend(given))
    options = [output.option for output in entry.outputs]
    turned = [word for name in reversed(options) for word in (f"--{name}", f"{name}.file")]
    result = CliRunner().invoke(main, [entry.name, *turned, "--job", "job.json"])
    assert result.exit_code == 0, result.output
    task = (entry.kind(), Path("job.json"))
    assert got == [task, *(Path(f"{name}.file") for name in options)]


def test_the_workflow_calls_its_section_and_report_and_no_other_command() -> None:
    rules = "".join(file.read_text("utf-8") for file in (ROOT / "workflow" / "rules").iterdir())
    called = set(re.findall(r"editcore ([a-z-]+) (?:--|\{)", rules))
    assert called == {command.name for command in OF_THE_WORKFLOW} | {"report"}


def test_help_shows_commands_for_people_first_and_the_workflow_s_apart() -> None:
    text = CliRunner().invoke(main, ["--help"]).output
    people, workflow = text.split("\nCommands:\n")[1].split("\nCommands that the workflow calls:\n")
    assert re.findall(r"^  ([a-z-]+)  ", people, re.M) == [c.name for c in FOR_PEOPLE]
    assert re.findall(r"^  ([a-z-]+)  ", workflow, re.M) == [c.name for c in OF_THE_WORKFLOW]
    assert text.split("Examples:\n")[1].lstrip().startswith("editcore check ")


def test_trace_is_sequence_under_its_old_name_with_a_warning_and_hidden() -> None:
    arguments = ["--job", "none.json", "--out", "a", "--deltas", "b"]
    old, new = (CliRunner().invoke(main, [name, *arguments]) for name in ("trace", "sequence"))
    assert old.exit_code == new.exit_code == 2
    warning, _, rest = old.stderr.partition("\n")
    assert "'trace' is deprecated. It is now called 'sequence'" in warning
    assert rest == new.stderr
    assert "trace" not in {command.name for command in COMMANDS}
    assert not re.search(r"^  trace\b", CliRunner().invoke(main, ["--help"]).output, re.M)
