"""Every file records how it was made, the same on every machine; only what changed is remade."""

import json
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from editcore.cli import main
from editcore.config.study import parse
from editcore.config.texts import PrefixSection
from editcore.planning.jobs import ModelSpec, PrefixJob
from editcore.planning.planner import plan
from editcore.records import provenance
from editcore.registry.candidates import Candidate
from editcore.registry.hookspecs import EditorInfo, hookimpl
from editcore.registry.registry import code_hash, load_registry
from editcore.testing.models import save_tiny_model
from tests.studies import (
    PlainConfig,
    PlainPlugin,
    model_files,
    plain_registry,
    study_config,
)


@pytest.fixture
def job(saved_model) -> PrefixJob:
    model = ModelSpec(name="tiny", source=str(saved_model("gpt2")), trust_remote_code=True)
    return PrefixJob(model=model, prefixes=PrefixSection(lengths=((3, 2),), seeds=("The",)), seed=4)


def test_a_record_contains_all_that_a_result_depends_on(job: PrefixJob) -> None:
    record = provenance.of_job(job, prefixes_hash="abc")
    assert record["job"]["seed"] == 4
    model = record["job"]["model"]
    assert (model["dtype"], model["device"], model["trust_remote_code"]) == ("float32", "cpu", True)
    assert record["code"] == code_hash("editcore")
    assert set(provenance.MADE_WITH) <= set(record["versions"])
    assert record["revision"] and record["config"]
    assert record["prefixes_hash"] == "abc"


def test_a_record_is_the_same_on_every_machine(
    job: PrefixJob, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here = json.dumps(provenance.of_job(job))
    assert platform.node() not in here.replace(job.model.source, "")
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    monkeypatch.setenv("HOSTNAME", "elsewhere")
    monkeypatch.chdir(tmp_path)
    assert json.dumps(provenance.of_job(job)) == here


def test_a_retrained_or_copied_model_is_recognised_by_its_revision(tmp_path: Path) -> None:
    first = save_tiny_model("gpt2", tmp_path / "first")
    other = save_tiny_model("gpt2", tmp_path / "other", seed=1)
    copied = shutil.copytree(first, tmp_path / "copied")
    revisions = [
        provenance.model_revision(ModelSpec(name="m", source=str(folder)))
        for folder in (first, other, copied)
    ]
    assert revisions[0] == revisions[2] != revisions[1]


@pytest.mark.parametrize("byte", [0, 2**20 + 1, provenance.BLOCK_BYTES, -1])
def test_a_model_edited_in_place_is_told_by_its_revision(tmp_path: Path, byte: int) -> None:
    spec = ModelSpec(name="m", source=str(model_files(tmp_path / "model")))
    weights = tmp_path / "model" / "model.safetensors"
    content = bytearray(provenance.BLOCK_BYTES + 2**20)
    weights.write_bytes(content)
    before = provenance.model_revision(spec)
    content[byte] = 1
    weights.write_bytes(content)
    assert provenance.model_revision(spec) != before
    content[byte] = 0
    weights.write_bytes(content)
    assert provenance.model_revision(spec) == before


def test_the_commit_of_a_hub_id_is_its_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--somebody--small"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    known = ModelSpec(name="m", source="somebody/small")
    assert provenance.model_revision(known) == commit
    assert provenance.model_revision(known.model_copy(update={"source": "nobody/none"})) is None


def test_metadata_of_tensors_print_like_those_of_tables(job: PrefixJob, tmp_path: Path) -> None:
    from editcore.atomic import write_tensors

    record = provenance.of_job(job)
    write_tensors(tmp_path / "a.safetensors", {}, provenance.as_metadata(record))
    printed = CliRunner().invoke(main, ["provenance", str(tmp_path / "a.safetensors")]).output
    assert json.loads(printed) == json.loads(json.dumps(record))


class OtherPlugin:
    """A second distribution with an editor of its own."""

    EDITCORE_HOOKSPEC = 2

    @hookimpl
    def editcore_editors(self) -> Iterator[EditorInfo]:
        yield EditorInfo("other", "Edits otherwise.", "", PlainConfig, "nowhere:Other")


def test_a_plugin_s_changed_code_changes_its_editors_jobs_alone(
    study_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"options": {"layer": 1, "key_strategy": "even"}}
    config = parse(study_config(editors={"plain": options, "other": options}), "study.yaml")
    candidates = [
        Candidate("plain", "editcore-plain", "1.2", PlainPlugin),
        Candidate("other", "editcore-other", "0.1", OtherPlugin),
    ]
    plan(config, "study.yaml", load_registry(candidates)).write()

    def changed(plugin: Any) -> str:
        return "changed" if isinstance(plugin, OtherPlugin) else code_hash(plugin)

    monkeypatch.setattr("editcore.registry.registry.code_hash", changed)
    written = plan(config, "study.yaml", load_registry(candidates)).write()
    assert {path.parent.parent.name for path in written} == {"editor=other"}
    assert len(written) == 2


def test_a_third_party_s_metric_or_key_strategy_is_known_by_its_code(study_folder: Path) -> None:
    study = plan(parse(study_config(), "study.yaml"), "study.yaml", plain_registry())
    job = next(iter(study.edits.values()))
    assert {name: len(code) for name, code in job.metric_code.items()} == {"accuracy": 12}
    assert {name: len(code) for name, code in job.editor.key_code.items()} == {"even": 12}
    own = load_registry()
    assert own.metrics.foreign_code(["accuracy", "score"]) == {}, "a new editcore reruns nothing"
