"""Every run measures the unedited model in the same way, and refuses one of infinite perplexity."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from editcore.errors import DataError
from editcore.keyvalue.estimation.moment_accumulator import measure_moments, texts_within
from editcore.models.loading import wrap_model
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    EditorSpec,
    ModelSpec,
    PerplexitySpec,
    SequenceJob,
    TextSpec,
)
from editcore.planning.stages.jobs import CaseSet, DownstreamJob, EditFiles, MechanismJob
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from editcore.records.tensors import save_tensors
from editcore.registry.registry import load_registry
from editcore.runs.edit import Shard
from editcore.runs.finished import downstream
from editcore.runs.mechanism.material import Material
from editcore.runs.sequence.run import SequenceRun
from editcore.testing.models import SENTENCES, tiny_model
from tests.rows import edit_row
from tests.studies import record, write_json


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A model with finite weights and non-finite logits, and what all jobs name of it."""
    folder = tmp_path_factory.mktemp("overflow")
    model, tokenizer = tiny_model("gpt2")
    with torch.no_grad():
        model.get_parameter("transformer.ln_f.weight").fill_(3e38)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    texts = str(write_json(folder / "texts.json", list(SENTENCES)))
    cases = str(write_json(folder / "cases.json", [record(1, "Coral")]))
    return {
        "model": ModelSpec(name="loud", source=str(folder / "model")),
        "perplexity": PerplexitySpec(path=texts, texts=2),
        "texts": TextSpec(path=texts, tokens=50),
        "dataset": DatasetSpec(name="cases", path=cases),
    }


def edits(given: dict[str, Any], folder: Path) -> None:
    one = {name: given[name] for name in ("model", "perplexity", "dataset")}
    editor = EditorSpec(label="noop", uses="noop")
    Shard.open(EditJob(**one, editor=editor, seed=0, shard=0, case_ids=(1,), metrics=()))


def sequence(given: dict[str, Any], folder: Path) -> None:
    one = {name: given[name] for name in ("model", "perplexity", "dataset")}
    steps = {"order": 0, "case_ids": (1,), "batch": 1, "every": 1, "checks": (), "checkpoint": 1}
    editor = EditorSpec(label="noop", uses="noop")
    SequenceRun.open(SequenceJob(**one, editor=editor, seed=0, **steps), load_registry())


def mechanism(given: dict[str, Any], folder: Path) -> None:
    one = {name: given[name] for name in ("model", "perplexity", "texts")}
    save_tensors(folder / "values.safetensors", {"unread": torch.zeros(1)}, {})
    values = str(folder / "values.safetensors")
    some = CaseSet(dataset=given["dataset"], case_ids=(1,), values=values)
    sets = {"hard_cases": some, "normal_cases": some, "prefix_lengths": (0,)}
    editor = EditorSpec(label="noop", uses="noop")
    Material.open(MechanismJob(**one, editor=editor, seed=0, **sets))


def tasks(given: dict[str, Any], folder: Path) -> None:
    rows = folder / "rows.parquet"
    write_table(rows, [edit_row(1, 3.0, model="loud", delta_norm=0.1)], EDITS, {})
    job = DownstreamJob(
        model=given["model"],
        edits=(EditFiles(rows=str(rows), deltas=str(folder / "deltas")),),
        tasks=("world_questions",),
        count=1,
        top=0,
        limit=1,
        seed=0,
        perplexity=given["perplexity"],
    )
    downstream.run(job, folder / "scores.parquet")


@pytest.mark.parametrize("run", [edits, sequence, mechanism, tasks])
def test_a_model_whose_perplexity_is_not_finite_is_refused_by_every_run(
    run: Callable[[dict[str, Any], Path], None], given: dict[str, Any], tmp_path: Path
) -> None:
    words = r"'loud' has a perplexity of .* no edit of it can be judged"
    with pytest.raises(DataError, match=words):
        run(given, tmp_path)


@pytest.mark.parametrize("tokens", [1, 7, 30, 10**6])
def test_the_texts_of_c_are_counted_in_tokens(tokens: int) -> None:
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    lengths = [len(model.tokenizer(text)["input_ids"]) for text in SENTENCES]
    assert sum(lengths) > 30
    needed = next((n for n in range(1, len(lengths)) if sum(lengths[:n]) >= tokens), len(SENTENCES))
    assert list(texts_within(model, SENTENCES, tokens)) == list(SENTENCES[:needed])
    assert measure_moments(model, [0], SENTENCES, tokens)[0].tokens == min(tokens, sum(lengths))
