"""Edits through a model's chat template: made in it, measured in it, and named in the rows."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from click.testing import CliRunner
from transformers import GenerationConfig

from editcore import runs
from editcore.cli import main
from editcore.config.study import parse
from editcore.models.hooks import recording
from editcore.models.loading import LoadedModel, load_model
from editcore.planning.planner import plan
from editcore.planning.study import Study
from editcore.records.schemas import SEQUENCES
from editcore.records.tables import read_edits, read_provenance, read_table
from editcore.runs import artefacts, edit
from editcore.runs.sequence import run as sequence
from editcore.testing.models import save_tiny_model
from editcore.updates.delta import load_deltas
from tests import chats
from tests.studies import TEXTS, record, write_config, write_json

EDITORS: dict[str, Any] = {
    "rome": {"options": {"layer": 1, "steps": 10, "key_strategy": "unprefixed"}},
    "ft": {"options": {"layer": 1, "steps": 60, "learning_rate": 0.02, "norm_constraint": None}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model with a chat template, facts and texts."""
    folder = tmp_path_factory.mktemp("chat")
    save_tiny_model("llama", folder / "model")
    (folder / "model" / "chat_template.jinja").write_text(chats.LINES)
    write_json(folder / "texts.json", TEXTS)
    write_json(folder / "facts.json", [record(i, s) for i, s in enumerate(("Coral", "Tavel"))])
    return folder


def config(folder: Path, **sections: Any) -> dict[str, Any]:
    texts, model = str(folder / "texts.json"), str(folder / "model")
    return {
        "models": {"plain": {"source": model}, "chat": {"source": model, "chat": True}},
        "editors": EDITORS,
        "datasets": {"facts": {"path": str(folder / "facts.json")}},
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": texts, "tokens": 500},
        "continuation_tokens": 6,
        **sections,
    }


@pytest.fixture(scope="module")
def study(folder: Path) -> tuple[Study, pl.DataFrame]:
    """A study of the model with and without its chat, after all of its edits, and their rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = plan(parse(config(folder, sequences={"editors": ["ft"]}), "study"), "study")
        for label, prefixes in study.prefixes.items():
            path = Path(f"results/artefacts/model={label}/prefixes.json")
            artefacts.write_prefixes(prefixes, path)
        for moments in study.moments.values():
            artefacts.write_moments(moments, Path(next(iter(moments.files.values()))).parent)
        for key, values in study.values.items():
            (file,) = {
                v.path
                for job in study.edits.values()
                for v in job.values
                if f"model={key.model}/" in v.path
            }
            artefacts.write_values(values, Path(file))
        for shard, rows in zip(study.edits.values(), study.edit_files, strict=True):
            edit.run(shard, Path(rows), _deltas(rows))
        return study, read_edits([folder / file for file in study.edit_files])


def _deltas(rows: str) -> Path:
    return Path(rows.replace("edits/", "deltas/").replace(".parquet", ".safetensors"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load_model("tiny", str(folder / "model"), chat=True)


def spoken(model: LoadedModel, said: str, answer: str | None = None) -> torch.Tensor:
    """The tokens of transformers' own chat."""
    messages = [{"role": "user", "content": said}]
    messages += [] if answer is None else [{"role": "assistant", "content": answer}]
    options = {"return_dict": False, "return_tensors": "pt"}
    found: torch.Tensor = model.tokenizer.apply_chat_template(
        messages, add_generation_prompt=answer is None, **options
    )
    return found


@torch.no_grad()
def test_an_edit_is_measured_after_the_chat_s_own_prompt(
    study: tuple[Study, pl.DataFrame], folder: Path, model: LoadedModel
) -> None:
    planned, rows = study
    greedy = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=0)
    for key, file in zip(planned.edits, planned.edit_files, strict=True):
        changes = load_deltas(folder / _deltas(file)) if key.model == "chat" else {}
        for case, change in changes.items():
            row = rows.row(
                by_predicate=(pl.col("model") == "chat")
                & (pl.col("editor") == key.editor)
                & (pl.col("case_id") == case),
                named=True,
            )
            said = row["prompt"].format(row["subject"])
            prompt, whole = spoken(model, said), spoken(model, said, row["target_new"])
            target = model.target_ids(model.turn.of(said), row["target_new"])
            start, end = prompt.shape[1], prompt.shape[1] + len(target)
            down = model.parts.down(1)
            with recording(down) as before:
                model.model(prompt)
            with change.applied(model.model), recording(down) as after:
                predicted = model.model(whole).logits[0].argmax(-1)
                text = model.model.generate(prompt, greedy)[0, start:]
                model.model(prompt)
            hits = predicted[start - 1 : end - 1] == whole[0, start:end]
            assert row["efficacy"] == pytest.approx(float(hits.float().mean()))
            assert row["continuation"] == model.tokenizer.decode(text, skip_special_tokens=True)
            if key.editor == "ft":
                assert row["efficacy"] == 1.0
                assert row["continuation"].startswith("Osdor")
            else:  # at the subject, W'k = v*, in the chat's own tokens
                moved = (after.output - before.output)[0, row["subject_position"]]
                assert float(moved.norm()) == pytest.approx(row["numerator_norm"], rel=1e-3)


def test_chat_and_plain_rows_differ_and_share_their_prefixes(
    study: tuple[Study, pl.DataFrame], model: LoadedModel
) -> None:
    _, rows = study
    assert set(rows["status"]) == {"ok"}
    plain, chat = (rows.filter(pl.col("model") == label) for label in ("plain", "chat"))
    assert set(chat["chat_template"]) == {model.turn.hash}
    assert plain["chat_template"].null_count() == len(plain)
    assert rows["prefixes_hash"].n_unique() == 1
    for name in ("prompt", "subject", "subject_tokens", "perplexity_base"):
        assert plain[name].to_list() == chat[name].to_list()
    for name in ("delta_norm", "continuation_base"):
        assert not (plain[name] == chat[name]).any()
    before = len(model.turn.opening)
    assert (chat["subject_start"] - plain["subject_start"]).unique().to_list() == [before]
    tokens = len(model.tokenizer(model.turn.opening)["input_ids"])
    assert (chat["subject_position"] - plain["subject_position"]).unique().to_list() == [tokens]


def test_the_provenance_has_what_the_template_writes(
    study: tuple[Study, pl.DataFrame], folder: Path, model: LoadedModel
) -> None:
    planned, _ = study
    for key, file in zip(planned.edits, planned.edit_files, strict=True):
        written = {**vars(model.turn), "hash": model.turn.hash}
        expected = written if key.model == "chat" else None
        assert read_provenance(folder / file).get("chat_template") == expected


def test_a_sequence_is_edited_and_asked_in_the_chat(
    study: tuple[Study, pl.DataFrame], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned, rows = study
    monkeypatch.chdir(folder)
    first = {}
    for key, job in planned.sequences.items():
        out = folder / f"{key.model}.parquet"
        sequence.run(job, out, folder / f"{key.model}.safetensors")
        steps = read_table(out, SEQUENCES)
        first[key.model] = steps["delta_norm"][1]
        alone = rows.filter(
            (pl.col("model") == key.model)
            & (pl.col("editor") == "ft")
            & (pl.col("case_id") == steps["case_id"][1])
        )
        assert first[key.model] == pytest.approx(alone["delta_norm"][0], rel=1e-4)
        assert steps["efficacy_so_far"][-1] == 1.0
    assert first["plain"] != pytest.approx(first["chat"], rel=1e-3)


def check(folder: Path, *more: str) -> dict[str, Any]:
    config_file = write_config(folder / "study.yaml", config(folder))
    fact = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "Osdor")
    where = ("--editor", "ft", "--config", str(config_file), "--cache", str(folder / "cache"))
    chosen = ["check", "--model", "plain", *fact, *where, "--json", "--no-calibrate", *more]
    result = CliRunner().invoke(main, chosen)
    assert result.exit_code in (0, 3), result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_check_edits_through_the_chat_if_it_is_asked_to(
    study: tuple[Study, pl.DataFrame], folder: Path, model: LoadedModel
) -> None:
    _, rows = study
    for label, found in (("plain", check(folder)), ("chat", check(folder, "--chat"))):
        (row,) = rows.filter(
            (pl.col("model") == label) & (pl.col("editor") == "ft") & (pl.col("case_id") == 0)
        ).to_dicts()
        for name in ("chat_template", "efficacy", "prompt"):
            assert found[name] == row[name], name
        assert found["delta_norm"] == pytest.approx(row["delta_norm"], rel=1e-4)
        assert found["continuations"][0]["prompt"] == "Coral is made by"


def test_guard_shows_what_the_user_says(folder: Path) -> None:
    file = write_config(folder / "study.yaml", config(folder))
    where = ("--config", str(file), "--cache", str(folder / "cache"), "--out", str(folder / "out"))
    chosen = ("--model", "plain", "--editor", "ft", "--chat", "--allow-damage")
    result = CliRunner().invoke(main, ["guard", str(folder / "facts.json"), *chosen, *where])
    assert result.exit_code in (0, 3), result.output
    assert "Coral is made by → Osdor" in result.stdout
    assert chats.SYSTEM not in result.stdout


def test_every_run_poses_its_cases_in_the_chat() -> None:
    files = Path(runs.__file__).parent.rglob("*.py")
    assert [file.name for file in files if "read_cases" in file.read_text()] == ["cases.py"]
