"""Whatever one case does, the others of its shard are what they would be without it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from transformers import AutoTokenizer

from editcore.config.study import StudyConfig, parse
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.records.tables import read_edits
from editcore.runs import artefacts, edit
from editcore.testing.models import tiny_facts
from tests.studies import TEXTS, record, write_json

ModelSaver = Callable[..., Path]
Record = dict[str, Any]
MENDED = "trained.safetensors"
LONG = "the sea is quiet " * 80
# A token that the tokenizer knows and the model has no embedding for.
HOMELESS = "<homeless>"
SOUND = [record(10 + n, subject) for n, subject in enumerate(("Coral", "Harbor"))]
POISON = record(99, "Elro")
# What is wrong with one record, and a part of its status; None if it can be edited.
POISONS: Mapping[str, tuple[Record, str | None]] = {
    "an empty paraphrase": (POISON | {"rephrase_prompt": ["Elro", ""]}, "paraphrase 2 is empty"),
    "a blank neighbour": (
        POISON | {"locality_prompt": ["  "], "locality_ground_truth": ["quiet"]},
        "prompt of neighbour 1 is empty",
    ),
    "a neighbour without answer": (
        POISON | {"locality_prompt": ["The sea is"], "locality_ground_truth": [" "]},
        "answer of neighbour 1 is empty",
    ),
    "an empty prompt": (POISON | {"prompt": ""}, "needs one '{}'"),
    "no subject in the prompt": (POISON | {"prompt": "It is made by"}, "needs one '{}'"),
    "an empty target": (POISON | {"target_new": " "}, "target_new is empty"),
    "a prompt too long": (POISON | {"prompt": f"{LONG} Elro is made by"}, "positions"),
    "a paraphrase too long": (POISON | {"rephrase_prompt": LONG}, "positions"),
    "a target too long": (POISON | {"target_new": LONG}, "positions"),
    "a NUL in the prompt": (POISON | {"prompt": "Elro\0 is made by"}, None),
    "a subject of a special token": (
        POISON | {"subject": "</s>", "prompt": "</s> is made by"},
        None,
    ),
    "a token without an embedding": (
        POISON | {"subject": HOMELESS, "prompt": f"{HOMELESS} is made by"},
        "IndexError",
    ),
}
EDITORS: Mapping[str, Mapping[str, Any]] = {
    "rome": {"layer": 1, "steps": 2},
    "c-rome": {"layer": 1, "steps": 2},
    "memit": {"layers": [1, 2], "steps": 2},
    "ft": {"layer": 1, "steps": 2},
    "mend": {"layers": [1, 2], "trained": MENDED},
    "noop": {},
}
# By column, how far two batches may differ. Adam's first step has the size of the learning rate
# whatever the gradient, so rounding can move a few numbers of v* the other way.
NUMBERS = {
    "perplexity_base": 1e-5,
    "efficacy": 1e-5,
    "locality": 1e-5,
    "perplexity": 1e-2,
    "delta_norm": 0.1,
    "warning": 0.1,
}


@pytest.fixture(scope="module")
def folder(saved_model: ModelSaver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, texts, and MEND's network trained for it."""
    folder = tmp_path_factory.mktemp("poison")
    shutil.copytree(saved_model("gpt2"), folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.add_tokens([HOMELESS])
    tokenizer.save_pretrained(folder / "model")
    write_json(folder / "data" / "texts.json", TEXTS)
    write_json(folder / "data" / "many.json", tiny_facts())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        training = {"data": "data/many.json", "exclude": [], "steps": 4, "batch": 2, "rank": 4}
        options = {"layers": [1, 2], "validate_every": 2, **training}
        config = study(folder, [SOUND[0]], {"mend": options})
        (job,) = plan(config, "study").training.values()
        artefacts.train_editor(job, folder / MENDED)
    return folder


def study(
    folder: Path, records: Sequence[Record], editors: Mapping[str, Any], dtype: str = "float32"
) -> StudyConfig:
    """A study of the model of `folder` on some records."""
    write_json(folder / "data" / "facts.json", list(records))
    raw = {
        "models": {"tiny": {"source": str(folder / "model"), "dtype": dtype}},
        "editors": {name: {"options": options} for name, options in editors.items()},
        "datasets": {"facts": {"path": "data/facts.json"}},
        "perplexity": {"path": "data/texts.json", "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": "data/texts.json", "tokens": 500},
        "continuation_tokens": 3,
    }
    return parse(raw, "study")


def edited(folder: Path, records: Sequence[Record]) -> pl.DataFrame:
    """The rows of all editors on these records, as the workflow's commands make them."""
    planned = plan(study(folder, records, EDITORS), "study")
    for model, prefix_job in planned.prefixes.items():
        if not paths.prefixes(model).exists():
            artefacts.write_prefixes(prefix_job, paths.prefixes(model))
    for (model, digest), moment_job in planned.moments.items():
        if not paths.moments(model, digest).exists():
            artefacts.write_moments(moment_job, paths.moments(model, digest))
    for value_key, value_job in planned.values.items():
        artefacts.write_values(value_job, paths.values(*value_key))
    for key, job in planned.edits.items():
        edit.run(job, paths.edits(*key), paths.deltas(*key))
    return read_edits([paths.edits(*key) for key in planned.edits])


@pytest.fixture(scope="module")
def alone(folder: Path) -> pl.DataFrame:
    """The rows of the sound records without any other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return edited(folder, SOUND)


@pytest.mark.parametrize(
    ("name", "place"), [(name, number % 3) for number, name in enumerate(POISONS)]
)
def test_a_poisoned_case_changes_no_other(
    folder: Path, alone: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, name: str, place: int
) -> None:
    monkeypatch.chdir(folder)
    poison, reason = POISONS[name]
    rows = edited(folder, [*SOUND[:place], poison, *SOUND[place:]])
    others = rows.filter(pl.col("case_id") != 99)
    assert set(alone["status"]) == {"ok"}, alone["status"].to_list()
    for column in ("editor", "case_id", "status"):
        assert others[column].to_list() == alone[column].to_list(), column
    for column, relative in NUMBERS.items():
        expected = alone[column].to_list()
        assert others[column].to_list() == pytest.approx(expected, rel=relative, abs=1e-5), column
    found = rows.filter(pl.col("case_id") == 99)
    assert found.height == len(EDITORS)
    for status in found["status"]:
        assert (reason in status) if reason else status, status
