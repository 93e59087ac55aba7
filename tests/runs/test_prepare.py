"""One way to prepare a model and an editor, whatever study their settings come from."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import DatasetSection, StudyConfig, load, parse
from editcore.datasets.readers import read_requests
from editcore.editing.session import Session
from editcore.errors import DataError
from editcore.planning.planner import plan
from editcore.registry.registry import load_registry
from editcore.runs.prepare import TOLERANCE, Choice, prepare, single_study, study_for
from tests.studies import TEXTS, record, write_config, write_json

ROOT = Path(__file__).resolve().parents[2]
HARD = DatasetSection(path="resources/world/hard.json", limit=2)


def test_the_default_study_cut_down_is_one_edit_job_with_the_study_s_settings() -> None:
    config = load(ROOT / "config.yaml")
    assert config.sequences and config.downstream and config.mechanism
    alone = single_study(config, "tiny-llama", "rome", HARD)
    study = plan(alone, "config.yaml")
    (job,) = study.edits.values()
    whole = plan(config, "config.yaml")
    names = ("tiny-llama", "rome")
    same = next(j for j in whole.edits.values() if (j.model.name, j.editor.label) == names)
    assert job.editor == same.editor
    assert job.perplexity == same.perplexity
    assert [m.key for m in study.moments.values()] == [
        m.key for m in whole.moments.values() if m.model == job.model and m.layers == (2,)
    ]
    assert (study.sequences, study.downstream, study.mechanism) == ({}, {}, {})


SECTIONS: dict[str, Any] = {
    "sequences": {"datasets": ["other"], "edits": 1},
    "downstream": {"tasks": ["no_such_task"]},
    "layers": {"datasets": ["no_such_set"]},
    "answers": {"contexts": ["chat"]},
    "survival": {"texts": "nowhere.json"},
    "mechanism": {"editor": "rome", "hard": "other", "normal": "other"},
}


OPTIONAL = [name for name, f in StudyConfig.model_fields.items() if f.default is None]


@pytest.mark.parametrize("name", OPTIONAL)
def test_no_stage_after_the_edits_can_prevent_it(name: str) -> None:
    base = {
        "models": {"tiny-gpt2": {}},
        "editors": {"rome": {"options": {"layer": 2}}},
        "datasets": {"other": {"path": "nowhere.json"}},
    }
    config = parse(base | {name: SECTIONS[name]}, "s")
    assert plan(single_study(config, "tiny-gpt2", "rome", HARD), "s").edits


def test_only_an_own_model_without_a_study_ends_its_estimation_of_c_early(
    tmp_path: Path, saved_model
) -> None:
    own = str(saved_model("gpt2"))
    study = {"models": {"own": {"source": own}}, "editors": {"rome": {}}}
    file = write_config(tmp_path / "study.yaml", study | {"datasets": {"hard": {"path": "h"}}})
    tolerances = [
        study_for(Choice(model, "rome", {}, config), HARD).moments.tolerance
        for model, config in ((own, None), (own, file), ("tiny-gpt2", None))
    ]
    assert tolerances == [TOLERANCE, None, None]


def test_artefacts_in_the_cache_in_this_format_are_used_again(
    tmp_path: Path, saved_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = str(write_json(tmp_path / "texts.json", TEXTS))
    facts = write_json(tmp_path / "facts.json", [record(1, "Coral")])
    study = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 2}}},
        "datasets": {"unused": {"path": "nowhere.json"}},
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The"]},
        "moments": {"path": texts, "tokens": 300},
    }
    choice = Choice("random", "rome", {}, write_config(tmp_path / "study.yaml", study))
    config = study_for(choice, DatasetSection(path=str(facts), format="flat"))
    cache = tmp_path / "cache"
    told: list[list[str]] = [[], [], [], []]
    one = prepare(config, "s", cache, told[0].append)
    assert prepare(config, "s", cache, told[1].append) == one
    other = config.model_copy(update={"seed": 1})
    assert prepare(other, "s", cache, told[2].append).prefixes != one.prefixes
    monkeypatch.setattr("editcore.runs.prepare.CACHE_FORMAT", 1)
    assert prepare(config, "s", cache, told[3].append).moments != one.moments
    kept = [[step for step in steps if "kept " in step] for steps in told]
    assert [len(steps) for steps in kept] == [2, 0, 1, 2], "another seed, other prefixes; C stays"
    assert one.prefixes and Path(one.prefixes).is_relative_to(cache)
    assert one.values == ()


def test_a_spectrum_is_cached_and_belongs_to_its_second_moments(
    tmp_path: Path, saved_model
) -> None:
    texts = str(write_json(tmp_path / "texts.json", TEXTS))
    facts = write_json(tmp_path / "facts.json", [record(1, "Coral")])
    study = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"alphaedit": {"options": {"layers": [1], "steps": 2, "kept_share": 0.5}}},
        "datasets": {"unused": {"path": "nowhere.json"}},
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The"]},
        "moments": {"path": texts, "tokens": 300},
    }
    choice = Choice("random", "alphaedit", {}, write_config(tmp_path / "study.yaml", study))
    config = study_for(choice, DatasetSection(path=str(facts), format="flat"))
    told: list[list[str]] = [[], [], []]
    one = prepare(config, "s", tmp_path / "cache", told[0].append)
    assert prepare(config, "s", tmp_path / "cache", told[1].append) == one
    moments = config.moments.model_copy(update={"tokens": 200})
    other_c = config.model_copy(update={"moments": moments})
    other = prepare(other_c, "s", tmp_path / "cache", told[2].append)
    made = [[step for step in steps if "decompose" in step] for steps in told]
    assert [len(steps) for steps in made] == [1, 0, 1]
    registry = load_registry()
    session = Session.open(one, registry)
    (result,) = session.editor.edit_each(session.context, read_requests(facts, "flat"))
    assert result.status == "ok"
    mixed = one.model_copy(update={"spectra": other.spectra})
    with pytest.raises(DataError, match="was not made from the second moment in"):
        Session.open(mixed, registry)


def test_a_norm_anchor_is_cached_and_belongs_to_its_model_and_facts(
    tmp_path: Path, saved_model
) -> None:
    texts = str(write_json(tmp_path / "texts.json", TEXTS))
    facts = write_json(tmp_path / "facts.json", [record(1, "Coral")])
    more = write_json(tmp_path / "more.json", [record(n, "Elro") for n in range(12)])
    rome = {"layer": 1, "steps": 2, "second_moment": False}
    nas = {"uses": "nas", "options": {"facts": str(more), "cases": 10}}
    study = {
        "models": {"random": {"source": str(saved_model("gpt2"))}},
        "editors": {"rome": {"options": rome, "transforms": [nas]}},
        "datasets": {"unused": {"path": "nowhere.json"}},
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The"]},
    }
    choice = Choice("random", "rome", {}, write_config(tmp_path / "study.yaml", study))
    config = study_for(choice, DatasetSection(path=str(facts), format="flat"))
    told: list[list[str]] = [[], [], []]
    one = prepare(config, "s", tmp_path / "cache", told[0].append)
    assert prepare(config, "s", tmp_path / "cache", told[1].append) == one
    write_json(more, [record(n, "Tavel") for n in range(12)])
    other = prepare(config, "s", tmp_path / "cache", told[2].append)
    made = [[step for step in steps if "norm of v*" in step] for steps in told]
    assert [len(steps) for steps in made] == [1, 0, 1]
    assert one.anchors[0].path != other.anchors[0].path
    registry = load_registry()
    session = Session.open(one, registry)
    (result,) = session.editor.edit_each(session.context, read_requests(facts, "flat"))
    assert result.status == "ok"
    foreign = one.anchors[0].model_copy(update={"key": "00000000"})
    with pytest.raises(DataError, match="from other facts or with another search"):
        Session.open(one.model_copy(update={"anchors": (foreign,)}), registry)


def test_a_wrong_option_is_refused_before_torch_is_imported() -> None:
    code = (
        "import sys\nfrom editcore.errors import ConfigError\n"
        "from editcore.runs.adhoc.check import check_request\n"
        "from editcore.runs.prepare import Choice\nfrom editcore import EditRequest\n"
        "try:\n"
        "    check_request(Choice('tiny-gpt2', 'rome', {'layr': 1}),"
        " EditRequest(0, '{} is', 'A', 'B', 'C'), '.', print)\n"
        "except ConfigError as error:\n    print('layr' in str(error), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"], done.stderr
