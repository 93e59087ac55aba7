"""Sequential edits: what their rows contain, and that a kill changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file

from editcore import Editor, EditorConfig, EditResult
from editcore.collapse.verdict import VERDICT_COLUMNS
from editcore.config.collapse import CollapseSection
from editcore.errors import PluginError
from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.evaluation.perplexity import measure, tokenize
from editcore.keyvalue.prefixes import ContextPrefixes, save
from editcore.models.loading import load_model
from editcore.planning.jobs import DatasetSpec, EditorSpec, ModelSpec, PerplexitySpec, SequenceJob
from editcore.records.schemas import SEQUENCES, SEQUENCES_JUDGED
from editcore.records.tables import read_provenance, read_table
from editcore.registry.hookspecs import Capabilities, EditorInfo
from editcore.registry.registry import Registry, load_registry
from editcore.runs.sequence import run as sequence
from editcore.runs.sequence.checkpoint import Resumed, SequenceProgress
from editcore.runs.sequence.telemetry.keys import KeyHistory
from editcore.summary.sequences import tasks, write_sequences
from editcore.testing.models import SENTENCES
from editcore.updates import cumulative_delta
from editcore.updates.delta import Delta, DenseUpdate
from tests.patches import Noise
from tests.sequence_steps import counted, end_before
from tests.studies import record, write_json

WORDS = ("Coral", "Harbor", "Tavel", "Elro", "Osdor", "Lamp")
CLOCK = ("seconds", "seconds_editing")
OPTIONS = {
    "rome": {"layer": 1, "steps": 3, "second_moment": False},
    "ft": {"layer": 1, "steps": 3},
}


@pytest.fixture
def job(saved_model: Any, tmp_path: Path) -> SequenceJob:
    """Six facts in a tiny model, one per step."""
    facts = [record(10 + i, word) for i, word in enumerate(WORDS)]
    cases = write_json(tmp_path / "cases.json", facts)
    texts = write_json(tmp_path / "texts.json", list(SENTENCES))
    save(ContextPrefixes(("{}", "I think. {}", "You. {}"), "tiny", 0), tmp_path / "prefixes.json")
    return SequenceJob(
        model=ModelSpec(name="tiny", source=str(saved_model("llama"))),
        editor=EditorSpec(label="rome", uses="rome", options=OPTIONS["rome"]),
        dataset=DatasetSpec(name="cases", path=str(cases)),
        seed=0,
        order=0,
        case_ids=(12, 10, 15, 11, 14, 13),
        batch=1,
        every=1,
        checks=(3,),
        checkpoint=2,
        perplexity=PerplexitySpec(path=str(texts), texts=4),
        prefixes=str(tmp_path / "prefixes.json"),
    )


TASKS = ("world_fact_choices", "world_questions")
SCORES = [f"score_{task}" for task in TASKS]


def asked(job: SequenceJob, *checks: int) -> SequenceJob:
    """The same sequence, with tasks of either kind."""
    return job.model_copy(update={"tasks": TASKS, "task_items": 4, "task_checks": checks})


def edited_by(job: SequenceJob, editor: str, **changes: Any) -> SequenceJob:
    spec = EditorSpec(label=editor, uses=editor, options=OPTIONS[editor])
    return job.model_copy(update={"editor": spec, **changes})


def run(job: SequenceJob, folder: Path, registry: Registry | None = None) -> pl.DataFrame:
    folder.mkdir(exist_ok=True)
    sequence.run(job, folder / "rows.parquet", folder / "all.safetensors", registry)
    return read_table(folder / "rows.parquet", SEQUENCES)


@pytest.mark.parametrize("editor", ["rome", "ft"])
def test_perplexity_is_that_of_all_edits_together(
    job: SequenceJob, editor: str, tmp_path: Path
) -> None:
    rows = run(edited_by(job, editor), tmp_path / "out")
    assert rows["status"].to_list() == ["ok"] * 7
    assert rows["case_id"].to_list() == [None, 12, 10, 15, 11, 14, 13]
    model = load_model("tiny", job.model.source)
    texts = tokenize(model, list(SENTENCES)[:4])
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    assert rows["perplexity"][0] == pytest.approx(measure(model, texts).mean, rel=1e-6)
    with cumulative_delta.applied(tmp_path / "out" / "all.safetensors", model) as changes:
        assert rows["perplexity"][-1] == pytest.approx(measure(model, texts).mean, rel=1e-5)
        assert rows["accumulated_norm"][-1] == pytest.approx(changes.norm(), rel=1e-9)
    assert all(torch.equal(before[n], t) for n, t in model.model.state_dict().items())
    assert rows["perplexity"].n_unique() == 7


def test_the_first_edits_may_be_measured_closely(job: SequenceJob, tmp_path: Path) -> None:
    rows = run(job.model_copy(update={"every": 5, "closely": 2, "checks": ()}), tmp_path)
    measured = rows.filter(pl.col("perplexity").is_not_null())
    assert measured["edits"].to_list() == [0, 1, 2, 5, 6]


def test_each_edit_starts_from_those_before_it(job: SequenceJob, tmp_path: Path) -> None:
    """The second edit's change differs from the one made on the unedited model."""
    sequence = run(job, tmp_path / "sequence")
    alone = run(job.model_copy(update={"case_ids": (10, 12)}), tmp_path / "alone")
    norms = sequence.filter(pl.col("case_id") == 10)["delta_norm"][0], alone["delta_norm"][1]
    assert norms[0] != pytest.approx(norms[1], rel=1e-4)


def test_what_is_measured_when(job: SequenceJob, tmp_path: Path) -> None:
    rows = run(job.model_copy(update={"every": 4, "checks": (3,)}), tmp_path / "out")
    measured = rows.filter(pl.col("perplexity").is_not_null())["step"].to_list()
    checked = rows.filter(pl.col("efficacy_so_far").is_not_null())["step"].to_list()
    assert (measured, checked) == ([0, 4, 6], [3, 6])


@pytest.mark.parametrize("stops", [True, False])
def test_a_collapsed_sequence_stops_or_continues(
    job: SequenceJob, stops: bool, tmp_path: Path
) -> None:
    at_once = {"stop_rule": CollapseSection(ratio=1e-6) if stops else None}
    rows = run(asked(job.model_copy(update=at_once)), tmp_path / "out")
    if stops:
        assert rows["status"].to_list() == ["ok", "stopped"]
        assert rows["efficacy_so_far"][-1] is not None
        assert rows.select(SCORES).null_count().row(0) == (0, 0), "before and where it stopped"
    else:
        assert rows["status"].to_list() == ["ok"] * 7


def test_tasks_are_run_on_the_current_model(job: SequenceJob, tmp_path: Path) -> None:
    """With a bundled model, whose scores edits change: they are those of its accumulated edits."""
    model = ModelSpec(name="tiny-gpt2", source="tiny-gpt2")
    options = {"layer": 2, "learning_rate": 0.5, "steps": 8, "norm_constraint": None}
    spec = EditorSpec(label="ft", uses="ft", options=options)
    job = asked(job.model_copy(update={"model": model, "editor": spec, "prefixes": None}), 2)
    rows = run(job, tmp_path / "out")
    assert rows.filter(pl.col(SCORES[0]).is_not_null())["step"].to_list() == [0, 2, 6]
    assert rows["random_world_fact_choices"].drop_nulls().to_list() == [0.25] * 3
    loaded, suite = load_model("tiny-gpt2", "tiny-gpt2"), Suite.load(TASKS, 4, job.seed)

    def scores() -> list[float | None]:
        return [found.score for found in suite.scores(EditedLM(loaded))]

    before = scores()
    assert list(rows.select(SCORES).row(0)) == before
    with cumulative_delta.applied(tmp_path / "out" / "all.safetensors", loaded):
        assert list(rows.select(SCORES).row(-1)) == scores() != before
    made = read_provenance(tmp_path / "out" / "rows.parquet")
    assert {"lm_eval", "task world_questions"} <= made["tasks"].keys()


def test_a_sequence_without_tasks_has_no_scores(job: SequenceJob, tmp_path: Path) -> None:
    assert run(job, tmp_path / "out").columns == SEQUENCES.names


def test_facts_are_edited_in_batches(job: SequenceJob, tmp_path: Path) -> None:
    rows = run(edited_by(job, "ft", batch=4, checks=(4,)), tmp_path / "out")
    assert rows["edits"].to_list() == [0, 4, 6]
    assert rows["case_id"].to_list() == [None, 12, 14]
    assert rows["efficacy_so_far"].null_count() == 1


def test_a_step_that_fails_has_a_reason_and_changes_nothing(
    job: SequenceJob, tmp_path: Path
) -> None:
    facts = json.loads(Path(job.dataset.path).read_text())
    facts[0]["prompt"] = "no subject here"
    write_json(Path(job.dataset.path), facts)
    rows = run(job, tmp_path / "out")
    flawed = rows.row(2, named=True)
    assert "needs one '{}'" in flawed["status"]
    assert flawed["delta_norm"] is None
    assert flawed["perplexity"] == rows["perplexity"][1]
    assert rows["status"].to_list().count("ok") == 6


def test_a_resumed_sequence_ends_with_the_same_table(
    job: SequenceJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = asked(job, 3)
    whole = run(job, tmp_path / "whole")
    assert whole[SCORES[0]].null_count() == 4
    end_before(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        run(job, tmp_path / "cut")
    checkpoint = SequenceProgress.beside(tmp_path / "cut" / "rows.parquet", job, {})
    assert checkpoint.file.path.exists()
    steps = counted(monkeypatch)
    resumed = run(job, tmp_path / "cut")
    assert steps == [5, 6], "it went on from the checkpoint after step 4"
    assert_frame_equal(resumed.drop(CLOCK), whole.drop(CLOCK), check_exact=True)
    one, other = (tmp_path / d / "all.safetensors" for d in ("whole", "cut"))
    tensors, others = load_file(one), load_file(other)
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[name], others[name]) for name in tensors)
    assert not checkpoint.file.path.exists()


def test_a_checkpoint_of_another_job_or_of_other_artefacts_is_ignored(
    job: SequenceJob, tmp_path: Path
) -> None:
    run(job, tmp_path / "out")
    other = job.model_copy(update={"every": 2})
    registry = load_registry()
    opened = sequence.SequenceRun.open(job, registry)
    with cumulative_delta.accumulating(opened.session.context.model) as changes:
        mine, theirs, changed = (
            SequenceProgress.beside(tmp_path / "out" / "x", *each)
            for each in ((job, {"C": "a"}), (other, {"C": "a"}), (job, {"C": "b"}))
        )
        mine.write(changes, Resumed([opened.unedited_row()], {}, KeyHistory()))
        assert mine.resume(changes, opened.unedited_row()) is not None
        assert theirs.resume(changes, opened.unedited_row()) is None
        assert changed.resume(changes, opened.unedited_row()) is None
        assert mine.resume(changes, {**opened.unedited_row(), "perplexity": 1.0}) is None


@pytest.mark.parametrize("after", [0.05, 0.6])
def test_a_killed_run_ends_with_the_same_table(
    job: SequenceJob, tmp_path: Path, after: float
) -> None:
    job = job.model_copy(update={"checkpoint": 1})
    whole = run(job, tmp_path / "whole")
    (tmp_path / "job.json").write_text(job.as_json())
    out = tmp_path / "killed" / "rows.parquet"
    arguments = ["sequence", "--job", str(tmp_path / "job.json"), "--out", str(out)]
    arguments += ["--deltas", str(out.with_name("all.safetensors"))]
    command = [sys.executable, "-c", "from editcore.cli import main; main()", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    checkpoint = SequenceProgress.beside(out, job, {}).file.path
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after / 10)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = run(job, out.parent)
    assert_frame_equal(killed.drop(CLOCK), whole.drop(CLOCK), check_exact=True)
    leftovers = {file.name for file in out.parent.iterdir() if not file.name.endswith(".partial")}
    assert leftovers == {"rows.parquet", "all.safetensors"}


class Counting(Editor[EditorConfig]):
    """Remembers how many facts it has edited, and changes a weight by as much."""

    def start(self, context: Any) -> Any:
        return {"count": torch.zeros(1)}

    def edit(self, context: Any, requests: Any, state: Any = None) -> EditResult:
        count = state["count"] + 1
        name = context.model.parts.down_weight(1)
        shape = context.model.model.get_parameter(name).shape
        return EditResult(
            Delta({name: DenseUpdate(torch.full(tuple(shape), float(count) * 1e-3))}),
            state={"count": count},
        )


def test_the_editor_s_state_is_passed_on_and_saved_in_the_checkpoint() -> None:
    editor, context = Counting(EditorConfig()), None
    state = {"count": torch.tensor([3.0])}
    loaded = editor.load_state(context, editor.save_state(state))  # type: ignore[arg-type]
    assert loaded["count"].item() == 3.0
    assert editor.load_state(context, editor.save_state(None)) is None  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="save_state"):
        editor.save_state([1, 2])


def test_sequences_are_gathered_into_one_table(job: SequenceJob, tmp_path: Path) -> None:
    """Even if only some of them have task scores."""
    short = job.model_copy(update={"case_ids": (10, 11)})
    files = []
    for order, each in enumerate((short, asked(short))):
        run(each.model_copy(update={"order": order}), tmp_path / str(order))
        files.append(tmp_path / str(order) / "rows.parquet")
    write_sequences(files, tmp_path, CollapseSection(ratio=1e-6))
    table = read_table(tmp_path / "sequences.parquet", SEQUENCES_JUDGED)
    assert table["collapsed"].to_list() == [
        None if p is None else True for p in table["perplexity"]
    ]
    assert set(table["seed"]) == {job.seed}
    assert table.select("order", "step").rows() == [(o, s) for o in (0, 1) for s in range(3)]
    assert tasks(table) == [*TASKS]
    assert_frame_equal(table[3:].drop(VERDICT_COLUMNS), read_table(files[1], SEQUENCES))
    assert table[:3].select(SCORES).null_count().row(0) == (3, 3)


@dataclass(frozen=True)
class Failing(Noise):
    """A patch that cannot be applied."""

    def applied(self, model: Any) -> Any:
        raise KeyError("no such module")


class Patching(Editor[EditorConfig]):
    """A patch that grows with the number of edits; the third cannot be applied."""

    def start(self, context: Any) -> Any:
        return {"count": torch.zeros(1)}

    def edit(self, context: Any, requests: Any, state: Any = None) -> EditResult:
        count = state["count"] + 1
        patch = Noise.at(context.model, 1, seed=0, size=float(count))
        if requests[0].case_id == 15:
            patch = Failing(**vars(patch))
        return EditResult(patch=patch, state={"count": count})


class Resuming(Patching):
    """The same, with a patch that its state gives again."""

    def patch_of(self, context: Any, state: Any) -> Noise | None:
        return Noise.at(context.model, 1, seed=0, size=float(state["count"]))


def patched_by(
    monkeypatch: pytest.MonkeyPatch, job: SequenceJob, editor: type[Patching]
) -> tuple[SequenceJob, Registry]:
    """The job with an editor of patches, and a registry that has it."""
    module = types.ModuleType("patching")
    module.__dict__.update(Editor=editor)
    monkeypatch.setitem(sys.modules, "patching", module)
    registry, beside = load_registry(), Capabilities(changes_weights=False)
    info = EditorInfo("patching", "", "", EditorConfig, "patching:Editor", beside)
    registry.editors.add(info, registry.editors["rome"].source)
    spec = EditorSpec(label="patching", uses="patching")
    return job.model_copy(update={"editor": spec}), registry


@pytest.mark.parametrize(("editor", "again"), [(Resuming, [5, 6]), (Patching, [1, 2, 3, 4, 5, 6])])
def test_a_sequence_of_patches_resumes_if_its_state_gives_the_patch_again(
    job: SequenceJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    editor: type[Patching],
    again: list[int],
) -> None:
    job, registry = patched_by(monkeypatch, job, editor)
    whole = run(job, tmp_path / "whole", registry)
    end_before(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        run(job, tmp_path / "cut", registry)
    steps = counted(monkeypatch)
    resumed = run(job, tmp_path / "cut", registry)
    assert steps == again
    assert_frame_equal(resumed.drop(CLOCK), whole.drop(CLOCK), check_exact=True)


def test_the_newest_patch_replaces_all_before_it(
    job: SequenceJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, registry = patched_by(monkeypatch, job, Patching)
    rows = run(asked(job), tmp_path / "out", registry)
    assert rows["made"].to_list() == [False, True, True, False, True, True, True]
    assert rows["status"][3] == "KeyError: 'no such module'"
    assert rows["perplexity"][3] == rows["perplexity"][2], "the patch before stays"
    model = load_model("tiny", job.model.source)
    texts = tokenize(model, list(SENTENCES)[:4])
    for step, count in ((2, 2), (6, 5)):
        with Noise.at(model, 1, seed=0, size=count).applied(model.model):
            expected = measure(model, texts).mean
        assert rows["perplexity"][step] == pytest.approx(expected, rel=1e-5)
    assert rows["accumulated_norm"].drop_nulls().max() == 0
    lm, suite = EditedLM(model), Suite.load(TASKS, 4)
    patch = Noise.at(model, 1, seed=0, size=5)
    with lm.edited(patch):
        assert list(rows.select(SCORES).row(-1)) == [found.score for found in suite.scores(lm)]
