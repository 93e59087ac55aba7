"""A study reads as written; every mistake in it is named with its place and the nearest name."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from editcore.config.study import StudyConfig, load, parse, schema_text
from editcore.errors import ConfigError
from editcore.planning.jobs import ModelSpec
from tests.studies import study_config, write_config

ROOT = Path(__file__).resolve().parents[2]
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "config").glob("*.yaml"))]


def test_defaults_are_the_published_settings() -> None:
    study = parse(study_config(prefixes={}, perplexity={}, collapse={}), "here")
    assert study.prefixes.lengths == ((5, 10), (10, 10))
    assert study.prefixes.seeds == ("The", "Therefore", "Because", "I", "You")
    assert study.perplexity.texts == 50
    assert study.collapse.perplexity == 1000.0


def test_a_section_left_empty_has_its_defaults() -> None:
    study = parse(study_config(models={"tiny-gpt2": None}, editors={"plain": None}), "here")
    assert study.models["tiny-gpt2"].dtype == "float32"
    assert study.editors["plain"].options == {}


@pytest.mark.parametrize(
    ("sections", "place", "hint"),
    [
        ({"modles": {}}, "modles", "Did you mean 'models'?"),
        ({"models": {"a": {"dtyp": "float32"}}}, "models.a.dtyp", "Did you mean 'dtype'?"),
        ({"editors": {"a": {"option": {}}}}, "editors.a.option", "Did you mean 'options'?"),
        (
            {"editors": {"a": {"transforms": [{"use": "x"}]}}},
            "editors.a.transforms.0.use",
            "'uses'",
        ),
        ({"datasets": {"a": {"path": "x", "limmit": 3}}}, "datasets.a.limmit", "'limit'"),
        ({"perplexity": {"text": 5}}, "perplexity.text", "Did you mean 'texts'?"),
        ({"collapse": {"ratios": 5}}, "collapse.ratios", "Did you mean 'ratio'?"),
        ({"seed": "many"}, "seed", "found 'many'"),
        ({"models": {"a/b": {}}}, "models.a/b", "labels may only contain letters"),
        ({"models": {"..": {}}}, "models...", "labels may only contain letters"),
        ({"models": {}}, "models", "at least 1 item"),
        ({"shard_size": 0}, "shard_size", "greater than or equal to 1"),
        ({"models": {"a": {"device": "gpu"}}}, "models.a.device", "found 'gpu'"),
        ({"models": {"a": {"published_moments": "c.npz"}}}, "models.a.published_moments", "{layer"),
        ({"models": {"a": {"dtype": "half"}}}, "models.a.dtype", "'float16'"),
        ({"prefixes": {"lengths": [[5]]}}, "prefixes.lengths.0.1", "missing"),
        ({"collapse": {"ratio": float("nan")}}, "collapse.ratio", "found nan"),
        ({"sequences": {"ever": 2}}, "sequences.ever", "Did you mean 'every'?"),
        ({"sequences": {"after_collapse": "pause"}}, "sequences.after_collapse", "'continue'"),
        ({"sequences": {"seeds": []}}, "sequences.seeds", "at least 1 item"),
    ],
)
def test_a_mistake_is_named_with_place_and_remedy(
    sections: dict[str, Any], place: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(study_config(**sections), "study.yaml")
    line = next(
        line for line in str(caught.value).splitlines() if line.startswith(f"study.yaml: {place}: ")
    )
    assert hint in line


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(study_config(seed="x", shard_size=0, modles={}), "study.yaml")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [("models: [", "not valid YAML"), ("- 1\n", "expected keys"), ("", "expected keys")],
)
def test_a_file_that_is_not_a_study_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "none.yaml"))):
        load(tmp_path / "none.yaml")


def test_a_file_reads_as_its_mapping(tmp_path: Path) -> None:
    path = write_config(tmp_path / "study.yaml", study_config())
    assert load(path) == parse(study_config(), "here")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_every_shipped_study_is_valid(path: Path) -> None:
    assert load(path).models


def test_a_file_without_models_changes_keys_of_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "config.yaml", study_config(seed=3, moments={"tokens": 500}))
    changes = tmp_path / "changes.yaml"
    changes.write_text("moments: {tokens: 900}\ncollapse: {ratio: 5}\n", encoding="utf-8")
    base, changed = load(tmp_path / "config.yaml"), load(changes)
    assert (changed.seed, changed.moments.tokens, changed.collapse.ratio) == (3, 900, 5)
    assert changed.moments.path == base.moments.path
    assert changed.models == base.models
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(ConfigError, match="models: this key is missing"):
        load(changes)


# Only here the default study differs from the defaults, as its comments explain.
CHANGED: dict[str, dict[str, Any]] = {
    "perplexity": {"path": "resources/world/perplexity.json", "texts": 30},
    "prefixes": {"lengths": ((10, 10),)},
    "moments": {"path": "resources/world/moments.json", "tokens": 50_000},
    "report": {"papers": True},
}


def test_the_default_study_shows_every_key_with_its_default() -> None:
    shown = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert set(shown) == set(StudyConfig.model_fields)
    study = load(ROOT / "config.yaml")
    for name, field in StudyConfig.model_fields.items():
        shown = getattr(study, name)
        if field.default is None:  # a stage that is not run if left out
            assert shown is not None, name
        elif name in CHANGED:
            assert shown == field.default.model_copy(update=CHANGED[name]), name
        elif not field.is_required():
            assert shown == field.default, name


def test_the_shipped_schema_is_the_one_that_the_model_gives() -> None:
    shipped = (ROOT / "workflow" / "schemas" / "config.schema.yaml").read_text(encoding="utf-8")
    assert shipped == schema_text(), "run: editcore schema > workflow/schemas/config.schema.yaml"


def sections_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema["$defs"].values()]


def test_the_schema_describes_every_key_and_refuses_others() -> None:
    for section in sections_of(yaml.safe_load(schema_text())):
        assert section["additionalProperties"] is False
        for key, described in section["properties"].items():
            assert described.get("description"), key
            assert "default" in described or key in section.get("required", []), key


def test_the_readme_explains_every_key() -> None:
    text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
    for section in sections_of(yaml.safe_load(schema_text())):
        for key in section["properties"]:
            assert re.search(rf"`[^`]*\b{key}\b[^`]*`", text), key


def test_the_config_is_read_without_torch() -> None:
    code = "import sys, editcore.planning.planner; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_tf32_is_refused_where_it_would_be_float32(device: str) -> None:
    model = {"source": "model", "precision": "tf32", "device": device}
    with pytest.raises(ConfigError, match=r"models\.tiny: precision tf32 .* set `device: cuda`"):
        parse(study_config(models={"tiny": model}), "study.yaml")
    with pytest.raises(ValidationError, match="precision tf32"):
        ModelSpec(name="tiny", **model)
    for sound in ({"device": "cuda:1"}, {"precision": "bfloat16"}):
        assert parse(study_config(models={"tiny": model | sound}), "study.yaml")


def test_only_the_first_of_very_many_mistakes_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(study_config(**{f"key{n}": 1 for n in range(25)}), "study.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert lines[-1] == "study.yaml: and 15 more"
