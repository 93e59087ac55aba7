"""All experiments on a small random model, and the identities between their tables."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from transformers import T5Config, T5EncoderModel

from editcore.config.study import FloatType
from editcore.config.texts import PrefixSection
from editcore.config.value_options import ValueOptions
from editcore.errors import DataError
from editcore.models.loading import wrap_model
from editcore.models.tokenization import tokenize_prompt
from editcore.planning.jobs import (
    DatasetSpec,
    EditorSpec,
    ModelSpec,
    MomentJob,
    PerplexitySpec,
    PrefixJob,
    TextSpec,
    ValueJob,
)
from editcore.planning.stages.jobs import CaseSet, MechanismJob
from editcore.records.mechanism_schemas import TABLES
from editcore.records.tables import read_provenance, read_table
from editcore.runs import artefacts
from editcore.runs.mechanism import depth
from editcore.runs.mechanism.moved import nearest_shares
from editcore.runs.mechanism.positions import bare_keys
from editcore.runs.mechanism.run import run
from editcore.testing.models import tiny_model, tiny_tokenizer
from tests.studies import TEXTS, record

LAYER = 1
OPTIONS: dict[str, Any] = {"layer": LAYER, "steps": 3}
Tables = dict[str, pl.DataFrame]


def write_sets(folder: Path) -> dict[str, Path]:
    """Two facts whose subject opens the prompt with one token, and two whose subject does not."""
    opening = [record(i, subject) for i, subject in enumerate(("Coral", "Harbor"))]
    later = [
        record(10 + i, subject) | {"prompt": f"The maker of {subject} is"}
        for i, subject in enumerate(("Coral", "Anna Lindqvist"))
    ]
    files = {name: folder / f"{name}.json" for name in ("hard", "normal", "texts")}
    for name, content in (("hard", opening), ("normal", later), ("texts", TEXTS * 3)):
        files[name].write_text(json.dumps(content), encoding="utf-8")
    return files


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = tiny_tokenizer()
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    model = T5EncoderModel(T5Config(vocab_size=len(tokenizer), **sizes))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def planned(
    saved_model: Any,
    folder: Path,
    poison: Sequence[dict[str, Any]] = (),
    dtype: FloatType = "float32",
) -> MechanismJob:
    """A job with its artefacts; `poison` are further hard cases."""
    files = write_sets(folder)
    hard = [*json.loads(files["hard"].read_text(encoding="utf-8")), *poison]
    files["hard"].write_text(json.dumps(hard), encoding="utf-8")
    model = ModelSpec(name="tiny", source=str(saved_model("gpt2")), dtype=dtype)
    texts = TextSpec(path=str(files["texts"]), tokens=400)
    written = folder / "prefixes.json"
    artefacts.write_prefixes(
        PrefixJob(model=model, prefixes=PrefixSection(lengths=((3, 3),), seeds=("The",)), seed=0),
        written,
    )
    artefacts.write_moments(
        MomentJob(model=model, layers=(LAYER,), texts=texts), folder / "moments"
    )
    sets = {}
    hard_ids = tuple(fact["case_id"] for fact in hard)
    for name, ids in (("hard", hard_ids), ("normal", (10, 11))):
        dataset = DatasetSpec(name=name, path=str(files[name]))
        job = ValueJob(
            model=model,
            dataset=dataset,
            shard=0,
            case_ids=ids,
            prefixes=str(written),
            options=ValueOptions(**OPTIONS),
        )
        values = folder / f"{name}.safetensors"
        artefacts.write_values(job, values)
        sets[name] = CaseSet(dataset=dataset, case_ids=ids, values=str(values))
    return MechanismJob(
        model=model,
        editor=EditorSpec(label="rome", uses="rome", options=OPTIONS),
        seed=0,
        prefixes=str(written),
        moments={LAYER: str(folder / "moments" / f"layer-{LAYER}.safetensors")},
        hard_cases=sets["hard"],
        normal_cases=sets["normal"],
        texts=texts,
        perplexity=PerplexitySpec(path=str(files["texts"]), texts=3),
        prefix_lengths=(0, 12),
    )


def made(job: MechanismJob, folder: Path) -> Tables:
    out = folder / "model=tiny"
    run(job, out)
    return {name: read_table(out / f"{name}.parquet", schema) for name, schema in TABLES.items()}


@pytest.fixture(scope="module")
def tables(saved_model, encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    folder = tmp_path_factory.mktemp("mechanism")
    job = planned(saved_model, folder).model_copy(update={"encoder": encoder})
    return made(job, folder)


@pytest.mark.parametrize("lacking", [{"prefixes": None}, {"moments": {}}])
def test_a_job_without_an_artefact_that_the_experiments_read_is_refused(
    saved_model, lacking: dict[str, Any], tmp_path: Path
) -> None:
    job = planned(saved_model, tmp_path).model_copy(update=lacking)
    with pytest.raises(DataError, match="context prefixes and the second moment of one layer"):
        run(job, tmp_path / "out")


def test_a_poisoned_case_is_left_out_with_its_reason_and_changes_no_other(
    saved_model, tmp_path: Path
) -> None:
    """One without a v*, and one that is too long only after the longest prefix."""
    tokenizer = tiny_tokenizer()
    long = "Coral is made by"
    while len(tokenizer(f"{long} and and")["input_ids"]) <= 246:
        long += " and"
    poison = [
        record(7, "Coral") | {"prompt": long},
        record(8, "Coral") | {"rephrase_prompt": ["Coral", ""]},
    ]
    folders = [tmp_path / name for name in ("with", "without")]
    for folder in folders:
        folder.mkdir()
    found = made(planned(saved_model, folders[0], poison, "float64"), folders[0])
    alone = made(planned(saved_model, folders[1], (), "float64"), folders[1])
    about = read_provenance(folders[0] / "model=tiny" / "moved.parquet")["left_out"]
    assert about["normal"] == {}
    assert sorted(about["collapse"]) == ["7", "8"]
    assert "positions; shorten it" in about["collapse"]["7"]
    assert "paraphrase 2 is empty" in about["collapse"]["8"]
    for name, table in alone.items():
        assert_frame_equal(found[name], table, rel_tol=1e-6)


def test_every_way_is_measured_and_numerators_depend_on_the_solved_key_alone(tables) -> None:
    updates = tables["updates"]
    assert updates.height == 4 * 3 * 2
    assert updates["perplexity"].null_count() == 0
    norms = updates.group_by("case_id", "strategy").agg(pl.col("numerator_norm").n_unique())
    assert set(norms["numerator_norm"]) == {1}, "C changes the direction, not the numerator"
    wide = updates.filter(pl.col("second_moment")).pivot(
        "strategy", index="case_id", values="numerator_norm"
    )
    assert wide["mixed"].to_list() == wide["unprefixed"].to_list()


def test_a_case_at_its_own_position_is_the_mixed_update(tables) -> None:
    own = tables["positions"].filter(~pl.col("swapped"))
    mixed = tables["updates"].filter(pl.col("second_moment"), strategy="mixed")
    joined = own.join(mixed, on=("cases", "case_id"))
    assert joined.height == own.height > 0
    assert joined["denominator"].to_list() == pytest.approx(joined["denominator_right"].to_list())
    assert joined["perplexity"].to_list() == pytest.approx(joined["perplexity_right"].to_list())
    swapped = tables["positions"].filter(pl.col("swapped"))
    assert all(swapped["key_cosine"] < 1 - 1e-6)


def test_without_a_prefix_nothing_has_moved(tables) -> None:
    moved = tables["moved"].filter(length=0, metric="cosine")
    distances = tables["distances"].filter(metric="cosine", first="collapse bare")
    for reference in ("collapse", "normal"):
        still = moved.filter(reference=reference)["mean"][0]
        assert still == pytest.approx(distances.filter(second=f"{reference} bare")["mean"][0])
    sums = tables["moved"].group_by("length", "metric").agg(pl.col("nearest").sum())
    assert sums["nearest"].to_list() == pytest.approx([1.0] * 4)


def test_depth_has_all_layers_of_decoder_and_encoder(tables) -> None:
    layers = tables["depth"].group_by("part").agg(pl.col("layer").n_unique()).sort("part")
    assert layers.rows() == [("decoder", 3), ("encoder", 2)]
    assert set(tables["points"]["panel"]) == {"directions", "keys", "first", "encoder"}


def test_rows_have_the_precision_on_disk_of_the_model_that_they_are_about(tables) -> None:
    assert {table["stored_as"].null_count() for table in tables.values()} == {0}
    for name, column in (("depth", "part"), ("points", "panel")):
        of_encoder = tables[name][column] == "encoder"
        assert tables[name].filter(of_encoder)["stored_as"].unique().to_list() == ["BF16"]
        tables = tables | {name: tables[name].filter(~of_encoder)}
    assert {kind for table in tables.values() for kind in table["stored_as"]} == {"F32"}


def test_a_position_that_is_apart_has_a_gap_and_others_have_none() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(64, 8, 50, generator=generator, dtype=torch.float64)
    keys[:, 0] = torch.ones(50) + 0.1 * keys[:, 0]
    found = list(depth.described("m", "p", {0: depth.LayerActivations(keys, keys)}, 0))
    gaps = {row["position"]: row["gap"] for row in found}
    assert gaps[0] > 0.8
    assert all(abs(gap) < 0.1 for position, gap in gaps.items() if position)


def test_a_row_is_never_its_own_nearest() -> None:
    own = torch.tensor([[0.0, 5.0], [5.0, 0.0]])
    shares = nearest_shares({"collapse": own, "normal": torch.tensor([[4.0], [6.0]])})
    assert shares == {"collapse": 0.5, "normal": 0.5}


def test_rotary_positions_do_not_change_a_first_token_that_sees_only_itself() -> None:
    subject = ("{} is made by", "Coral")
    for kind, notices in (("gpt2", True), ("llama", False)):
        model = wrap_model(kind, *tiny_model(kind))
        prompt = tokenize_prompt(model.tokenizer, *subject)
        still, _ = bare_keys(model, LAYER, [prompt], 0)
        moved, _ = bare_keys(model, LAYER, [prompt], 1)
        assert torch.allclose(still, moved, atol=1e-5) is not notices
