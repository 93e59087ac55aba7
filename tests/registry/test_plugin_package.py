"""A third party's distribution is installed from its wheel, and the whole workflow knows it.

All our code that runs here is from wheels in a new environment; nothing is from this repository's
tree.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from editcore.planning import paths
from editcore.testing.models import tiny_model_of_type
from refresh.release import projects
from tests import installed
from tests.installed import Environment
from tests.studies import write_config

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "plugin_package"
OURS = projects(ROOT)
STUDY = {
    "models": {"tiny-gpt2": {}},
    "editors": {"codebook": {"options": {"layer": 3, "radius": 0.3}}},
    "datasets": {"hard": {"path": "resources/world/hard.json", "limit": 3}},
    "perplexity": {"texts": 5},
    "prefixes": {"lengths": [[3, 2]]},
    "metrics": ["accuracy", "fluency"],
}

# The arguments of a tiny model's configuration; editcore itself does not know its type.
STARCODER2 = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A new environment with the pinned packages, and wheels of editcore and of the package."""
    made = installed.environment(tmp_path_factory.mktemp("third-party"), (*OURS, PACKAGE))
    made.run("editcore", "init", "study")
    return replace(made, folder=made.folder / "study")


def test_nothing_of_ours_comes_from_the_repository(environment: Environment) -> None:
    code = (
        "import editcore, editcore_rome, editcore_codebook as c; print(editcore, editcore_rome, c)"
    )
    shown = environment.run("python", "-c", code).stdout
    assert shown.count(str(environment.path)) == 3
    assert str(ROOT) not in shown.replace(str(environment.path), "")


def test_it_is_listed(environment: Environment) -> None:
    found = json.loads(environment.run("editcore", "plugins", "--json").stdout)
    assert found["broken"] == []
    (editor,) = [e for e in found["editors"] if e["distribution"] == "editcore-codebook"]
    assert (editor["name"], editor["version"]) == ("codebook", "0.3.0")
    assert editor["capabilities"]["changes_weights"] is False
    (metric,) = [m for m in found["metrics"] if m["distribution"] == "editcore-codebook"]
    assert (metric["name"], metric["columns"]) == ("fluency", ["fluency"])
    (family,) = [f for f in found["model_families"] if f["distribution"] == "editcore-codebook"]
    assert family["model_types"] == ["starcoder2"]
    (format,) = [f for f in found["dataset_formats"] if f["distribution"] == "editcore-codebook"]
    assert format["name"] == "mquake-one-fact"
    assert format["fields"] == ["requested_rewrite", "questions"]
    assert {"rome", "memit"} <= {e["name"] for e in found["editors"]}, "ours are there too"


def test_naming_it_in_a_config_takes_it_through_the_whole_workflow(
    environment: Environment,
) -> None:
    write_config(environment.folder / "study.yaml", STUDY)
    environment.run("editcore", "run", "--configfile", "study.yaml")
    summary = environment.folder / "results" / "summary"
    cases = pl.read_parquet(summary / "cases.parquet")
    assert cases["status"].to_list() == ["ok"] * 3
    assert set(cases["editor"]) == {"codebook"}
    assert cases["efficacy"].to_list() == [1.0] * 3
    assert cases["perplexity"].null_count() == 0
    assert cases["delta_norm"].null_count() == 3
    assert all(0 < value < 6 for value in cases["fluency"])
    (verdict,) = pl.read_parquet(summary / "verdicts.parquet").to_dicts()
    assert verdict["n_ok"] == 3
    assert verdict["fluency_mean"] == pytest.approx(cases["fluency"].mean())
    page = (environment.folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "editcore-codebook 0.3.0" in page
    assert "fluency" in page


def rewrite(subject: str, target: str) -> dict[str, object]:
    """A fact as in MQuAKE's records."""
    return {
        "prompt": "{} is made by",
        "relation_id": "P176",
        "target_new": {"str": target},
        "target_true": {"str": "Elro"},
        "subject": subject,
        "question": f"Who makes {subject}?",
    }


def test_its_model_family_and_its_data_set_format_are_studied(environment: Environment) -> None:
    model, tokenizer = tiny_model_of_type("starcoder2", STARCODER2)
    for part in (model, tokenizer):
        part.save_pretrained(environment.folder / "starcoder")
    facts = [[rewrite("Coral", "Osdor")], [rewrite("Coral", "Tavel")], [rewrite("Harbor", "Tavel")]]
    facts[1] *= 2
    records = [{"case_id": n, "requested_rewrite": f, "questions": []} for n, f in enumerate(facts)]
    (environment.folder / "mquake.json").write_text(json.dumps(records))
    rome = {"options": {"layer": 1, "steps": 3, "second_moment": False}}
    study = {
        "models": {"starcoder": {"source": "starcoder"}},
        "editors": {"rome": rome, "codebook": {"options": {"layer": 1, "steps": 3}}},
        "datasets": {"mquake": {"path": "mquake.json"}},
        "perplexity": {"texts": 3},
        "prefixes": {"lengths": [[3, 2]]},
    }
    write_config(environment.folder / "starcoder.yaml", study)
    environment.run("editcore", "run", "--configfile", "starcoder.yaml")
    cases = pl.read_parquet(environment.folder / "results" / "summary" / "cases.parquet")
    assert sorted(cases["editor"]) == ["codebook", "codebook", "rome", "rome"]
    assert set(cases["case_id"]) == {0, 2}, "the record of two facts is left out"
    assert set(cases["status"]) == {"ok"}
    assert cases["perplexity"].is_finite().all()
    shard = paths.edits_job("starcoder", "rome", "mquake", "000")
    job = json.loads((environment.folder / shard).read_text())
    assert len(job["model"]["family_code"]) == len(job["dataset"]["format_code"]) == 12

    study["datasets"] = {"mquake": {"path": "mquake.json", "format": "mquak"}}
    write_config(environment.folder / "starcoder.yaml", study)
    refused = environment.run("editcore", "plan", "starcoder.yaml", status=2).stderr
    assert "datasets.mquake: unknown data-set format 'mquak'. Did you mean 'mquake'?" in refused


def test_one_of_its_edits_can_be_checked_but_there_is_nothing_to_save(
    environment: Environment,
) -> None:
    write_config(environment.folder / "study.yaml", STUDY)
    chosen = ("--model", "tiny-gpt2", "--editor", "codebook", "--config", "study.yaml")
    fact = ("--prompt", "{} is made by", "--subject", "Orbit", "--target", "Osdor")
    done = environment.run("editcore", "check", *chosen, *fact, "--save", "saved", status=2)
    assert "codebook changes no weights, so there is nothing to save" in done.stderr
    said = json.loads(environment.run("editcore", "check", *chosen, *fact, "--json").stdout)
    first = said["continuations"][0]
    assert first["after"].startswith(" Osdor") and not first["before"].startswith(" Osdor")
    facts = str(ROOT / "resources" / "world" / "hard.json")
    done = environment.run(
        "editcore", "guard", facts, *chosen, "--limit", "1", "--out", "guarded", status=2
    )
    assert "codebook changes no weights, so its edits cannot be kept" in done.stderr


def test_it_passes_its_own_tests_where_it_is_installed(environment: Environment) -> None:
    shutil.copytree(PACKAGE / "tests", environment.folder / "tests")
    # Two of the architectures are enough here; all are run in editors' own repositories.
    options = ("-q", "-p", "no:cacheprovider", "-k", "gpt2 or llama or not Codebook")
    done = environment.run("python", "-m", "pytest", *options, "tests")
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 30, "the suite ran"
