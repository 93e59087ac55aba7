"""The command line: every verb has help, works, and fails with one plain sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from editcore.cli import COMMANDS, main
from editcore.registry.candidates import Candidate
from editcore.registry.inventory import inventory, inventory_text
from editcore.registry.registry import load_registry
from tests.studies import model_files, study_config, write_config

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Run the command line in this process."""

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments))

    return invoke


def test_help_names_every_verb_with_an_example(run: Run) -> None:
    text = run("--help").output
    for command in COMMANDS:
        assert command.name and command.name in text
        page = run(command.name, "--help").output
        assert f"Examples:\n    editcore {command.name}" in page


def test_an_error_is_one_plain_message(run: Run, study_folder: Path) -> None:
    result = run("plan", "nowhere.yaml")
    assert result.exit_code == 2
    assert result.output.startswith("editcore: error: nowhere.yaml: ")
    assert "Traceback" not in result.output


def test_an_unknown_editor_is_refused_with_what_is_installed(run: Run, study_folder: Path) -> None:
    config = study_config(editors={"no-such-editor": {}})
    write_config(study_folder / "study.yaml", config)
    result = run("plan", "study.yaml")
    assert result.exit_code == 2
    assert "study.yaml: editors.no-such-editor: unknown editor 'no-such-editor'" in result.output
    assert "Installed: " in result.output


@pytest.mark.parametrize("verb", ["prefixes", "moments"])
def test_a_missing_job_is_no_traceback(run: Run, tmp_path: Path, verb: str) -> None:
    result = run(verb, "--job", str(tmp_path / "none.json"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "none.json" in result.output
    assert "Traceback" not in result.output


def test_summarise_refuses_a_file_that_is_not_a_manifest(run: Run, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text("[]", encoding="utf-8")
    result = run("summarise", "--study", str(tmp_path / "study.json"), "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "not a valid study manifest" in result.output


def test_plugins_prints_text_and_json_of_the_same(run: Run) -> None:
    found = json.loads(run("plugins", "--json").output)
    text = run("plugins").output
    kinds = {"editors", "key_strategies", "delta_transforms", "metrics", "judges"}
    others = {"editor_wrappers", "model_families", "dataset_formats", "broken"}
    assert set(found) == kinds | others
    for kind in kinds:
        assert found[kind]
        for record in found[kind]:
            assert record["name"] in text
            assert record["distribution"] in text
    assert all("options" in editor for editor in found["editors"])
    assert all("batched" in editor["capabilities"] for editor in found["editors"])
    assert found["delta_transforms"][0]["options"].keys() == {"ratio"}
    assert all(metric["columns"] for metric in found["metrics"])


def test_plugins_lists_the_broken_with_their_reason() -> None:
    def explode() -> None:
        raise ImportError("no module named quux")

    found = inventory(load_registry([Candidate("bad", "editcore-bad", "0.3", explode)]))
    reason = "ImportError: no module named quux"
    assert found["broken"] == [
        {"name": "bad", "distribution": "editcore-bad", "version": "0.3", "reason": reason}
    ]
    assert inventory_text(found) == f"broken\n  bad (editcore-bad 0.3): {reason}"


def test_schema_prints_what_is_shipped(run: Run) -> None:
    root = Path(__file__).resolve().parents[2]
    shipped = root / "workflow" / "schemas" / "config.schema.yaml"
    assert run("schema").output == shipped.read_text(encoding="utf-8")


def test_provenance_reads_tables_and_tensors(run: Run, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from editcore.records.tables import PROVENANCE_KEY

    table = pa.table({"a": [1]}).replace_schema_metadata({PROVENANCE_KEY: b'{"seed": 3}'})
    pq.write_table(table, tmp_path / "a.parquet")
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"job": '{"seed": 3}'})
    assert json.loads(run("provenance", str(tmp_path / "a.parquet")).output) == {"seed": 3}
    tensors = json.loads(run("provenance", str(tmp_path / "a.safetensors")).output)
    assert tensors == {"job": {"seed": 3}}


@pytest.mark.parametrize("name", ["none.parquet", "text.safetensors", "text.parquet", "text.txt"])
def test_provenance_refuses_files_without_it(run: Run, tmp_path: Path, name: str) -> None:
    if name.startswith("text"):
        (tmp_path / name).write_text("no table, no tensors", encoding="utf-8")
    result = run("provenance", str(tmp_path / name))
    assert result.exit_code == 2
    assert name in result.output
    assert "Traceback" not in result.output


def test_doctor_lists_what_is_there_and_what_is_broken(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "models" / "tiny-broken"
    model_files(broken)
    (broken / "model.safetensors").unlink()
    monkeypatch.setenv("EDITCORE_RESOURCES", str(tmp_path))
    result = run("doctor")
    assert result.exit_code == 1
    assert "ok  torch: " in result.output
    assert "BAD model tiny-broken: " in result.output


def test_the_command_line_starts_without_torch() -> None:
    code = "import sys, editcore.cli; sys.exit('torch' in sys.modules or 'polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
