"""A shard through the whole of `editcore edit`: bad input, shared values, the weights' return."""

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import torch

from editcore import ValueOptions
from editcore.errors import DataError
from editcore.keyvalue import prefixes, value_file
from editcore.planning.jobs import (
    DatasetSpec,
    EditJob,
    EditorSpec,
    ModelSpec,
    PerplexitySpec,
    ValueFile,
    ValueJob,
)
from editcore.records.tables import read_edits
from editcore.runs import artefacts, edit
from editcore.testing.models import CONTEXT, SENTENCES, save_tiny_model
from editcore.toolkit import ContextPrefixes, Value

GOOD = {"prompt": "Coral is made by", "subject": "Coral", "target_new": "Osdor"}
FLAWED = {
    "does not occur": (GOOD | {"subject": "Harbor"}, "needs one '{}'"),
    "occurs twice": (GOOD | {"prompt": "Coral, said Coral, is made by"}, "needs one '{}'"),
    "is empty": (GOOD | {"subject": ""}, "subject is empty"),
    "ends inside a token": (GOOD | {"prompt": "{}al is made by", "subject": "Cor"}, "inside a tok"),
    "has no target": (GOOD | {"target_new": ""}, "target_new is empty"),
    "is too long": (GOOD | {"prompt": "the lamp " * CONTEXT + "Coral is"}, "positions; shorten it"),
}
OPTIONS = ValueOptions(layer=1, steps=3, learning_rate=0.1)
Maker = Callable[..., EditJob]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Jobs of the flawed cases and, between them, three sound ones."""
    save_tiny_model("gpt2", tmp_path / "model")
    sound = [GOOD, GOOD | {"target_new": "Tavel"}, GOOD | {"prompt": "The maker of Coral is"}]
    records = [r | {"ground_truth": "Elro"} for r in (*(c for c, _ in FLAWED.values()), *sound)]
    cases, texts, templates = (tmp_path / f"{name}.json" for name in ("cases", "texts", "prefixes"))
    cases.write_text(json.dumps([r | {"case_id": i} for i, r in enumerate(records)]))
    texts.write_text(json.dumps(list(SENTENCES)))
    prefixes.save(ContextPrefixes(("{}", "Therefore. {}", "I think. {}"), "tiny", 0), templates)

    def job(editor: str, cases_of: tuple[int, ...], values: tuple[ValueFile, ...] = ()) -> EditJob:
        options = {"layer": 1, "second_moment": False, "steps": 3, "learning_rate": 0.1}
        return EditJob(
            model=ModelSpec(name="tiny", source=str(tmp_path / "model")),
            editor=EditorSpec(label=editor, uses=editor, options=options),
            dataset=DatasetSpec(name="cases", path=str(cases)),
            shard=0,
            case_ids=cases_of,
            perplexity=PerplexitySpec(path=str(texts), texts=4),
            metrics=("accuracy", "score"),
            seed=0,
            prefixes=str(templates),
            values=values,
        )

    return job


def rows_of(job: EditJob, folder: Path) -> pl.DataFrame:
    folder.mkdir(exist_ok=True)
    edit.run(job, folder / "rows.parquet", folder / "deltas.safetensors")
    return read_edits([folder / "rows.parquet"])


MEASURED = ["perplexity", "denominator", "numerator_norm", "efficacy", "locality", "delta_norm"]


def test_every_flaw_is_one_row_and_the_other_cases_are_as_without_it(
    make: Maker, tmp_path: Path
) -> None:
    rows = rows_of(make("rome", tuple(range(9))), tmp_path / "all")
    for row, (_, reason) in zip(rows.head(6).iter_rows(named=True), FLAWED.values(), strict=True):
        assert reason in row["status"]
        assert [row[name] for name in MEASURED] == [None] * len(MEASURED)
    alone = rows_of(make("rome", (6, 7, 8)), tmp_path / "alone")
    assert alone["status"].to_list() == ["ok"] * 3
    for name in MEASURED:
        together = rows.tail(3)[name].drop_nulls().to_list()
        assert together == pytest.approx(alone[name].drop_nulls().to_list(), rel=1e-4)


def test_a_fact_that_names_no_subject_is_edited_if_the_editor_needs_none(
    make: Maker, tmp_path: Path
) -> None:
    path = tmp_path / "cases.json"
    records = json.loads(path.read_text())
    bare = {key: value for key, value in records[6].items() if key != "subject"}
    path.write_text(json.dumps([*records, bare | {"case_id": len(records)}]))
    job = make("ft", (6, len(records)))
    options = {"layer": 1, "steps": 3}
    job = job.model_copy(update={"editor": job.editor.model_copy(update={"options": options})})
    job = job.model_copy(update={"dataset": DatasetSpec(name="c", path=str(path), format="flat")})
    named, unnamed = rows_of(job, tmp_path / "ft").iter_rows(named=True)
    assert (unnamed["status"], unnamed["subject"], unnamed["subject_position"]) == ("ok", "", None)
    for column in ("perplexity", "efficacy", "delta_norm"):
        assert unnamed[column] == pytest.approx(named[column], rel=1e-4)
    job = make("rome", (6, len(records))).model_copy(update={"dataset": job.dataset})
    named, unnamed = rows_of(job, tmp_path / "rome").iter_rows(named=True)
    assert named["status"] == "ok"
    assert "the fact names no subject, and the editor 'rome' needs one" in unnamed["status"]


def test_shared_values_give_the_rows_that_each_editor_finds_alone(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = make("rome", tuple(range(9)))
    shared = ValueFile(options=OPTIONS, path=str(tmp_path / "values.safetensors"))
    search = ValueJob(
        model=given.model,
        dataset=given.dataset,
        shard=0,
        case_ids=given.case_ids,
        prefixes=str(given.prefixes),
        options=OPTIONS,
    )
    artefacts.write_values(search, Path(shared.path))
    searched = value_file.load(Path(shared.path), torch.device("cpu"))
    alone = {
        name: rows_of(make(name, given.case_ids), tmp_path / name) for name in ("rome", "c-rome")
    }
    monkeypatch.setattr(
        "editcore.editing.values.find_values", lambda *_: pytest.fail("v* was searched again")
    )
    for name, rows in alone.items():
        again = rows_of(make(name, given.case_ids, (shared,)), tmp_path / f"{name} shared")
        assert again["status"].to_list() == rows["status"].to_list()
        assert again["seconds_editing"].min() >= searched.seconds > 0
        for column in MEASURED:
            values = rows[column].drop_nulls().to_list()
            assert again[column].drop_nulls().to_list() == pytest.approx(values, rel=1e-4)


def test_found_values_are_read_back_and_other_files_are_refused(tmp_path: Path) -> None:
    value = Value(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]), 7, 0.25)
    value_file.save({3: value, 1: "no such subject"}, tmp_path / "v", {}, seconds=3.0)
    read = value_file.load(tmp_path / "v", torch.device("cpu"))
    assert read.seconds == 1.5
    assert read[1] == "no such subject"
    assert isinstance(read[3], Value)
    assert torch.equal(read[3].target, value.target)
    assert (read[3].steps, read[3].loss) == (7, 0.25)
    value_file.save({}, tmp_path / "none", {})
    assert value_file.load(tmp_path / "none", torch.device("cpu")).by_case == {}


def planned(given: EditJob, folder: Path, case_ids: tuple[int, ...]) -> ValueFile:
    """v* of some cases, found as a study would."""
    path = folder / "planned.safetensors"
    search = ValueJob(
        model=given.model,
        dataset=given.dataset,
        shard=0,
        case_ids=case_ids,
        prefixes=str(given.prefixes),
        options=OPTIONS,
    )
    artefacts.write_values(search, path)
    return ValueFile(options=OPTIONS, path=str(path))


def test_a_planned_case_that_the_file_lacks_stops_the_shard(make: Maker, tmp_path: Path) -> None:
    file = planned(make("rome", (6, 7)), tmp_path, (6,))
    with pytest.raises(DataError, match=r"planned\.safetensors lacks v\* of case 7"):
        rows_of(make("rome", (6, 7), (file,)), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_options_other_than_those_planned_stop_the_shard_and_are_named(
    make: Maker, tmp_path: Path
) -> None:
    file = planned(make("rome", (6,)), tmp_path, (6,))
    other = make("rome", (6,), (file,))
    options = other.editor.options | {"steps": 5}
    other = other.model_copy(
        update={"editor": other.editor.model_copy(update={"options": options})}
    )
    with pytest.raises(DataError, match=r"planned\.safetensors: v\* was .* steps 3, not 5"):
        rows_of(other, tmp_path / "out")


def test_rows_carry_the_key_strategy_and_second_moment_that_the_editor_reports(
    make: Maker, tmp_path: Path
) -> None:
    rows = rows_of(make("c-rome", (0, 6)), tmp_path / "out")
    assert rows.select("case_id", "key_strategy", "second_moment").rows() == [
        (0, None, None),  # flawed: the editor never sees it
        (6, "prefixed", False),
    ]
