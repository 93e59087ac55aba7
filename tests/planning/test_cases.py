"""Planning chooses hard and normal cases with the tokenizers of a study's models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer

from editcore.config.study import parse
from editcore.datasets.readers import read_requests
from editcore.errors import ConfigError, DataError, ModelError
from editcore.models.tokenization import continuation_ids, tokenize_prompt
from editcore.planning.cases import (
    TokenizerMissing,
    has_one_token_target,
    is_early,
    is_hard,
)
from editcore.planning.planner import plan
from editcore.planning.study import Study
from editcore.registry.registry import load_registry
from tests.studies import model_files, plain_registry, record, study_config, write_data, write_json

Planner = Callable[..., Study]
RESOURCES = Path(__file__).parents[2] / "resources"
MERGES = RESOURCES.parents[1] / "shared" / "data" / "gpt2" / "merges.txt"
UNKNOWN = "[UNK]"


def words_of(pattern: str) -> Tokenizer:
    """A tokenizer whose tokens are the matches of a pattern."""
    tokenizer = Tokenizer(models.WordLevel({UNKNOWN: 0}, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return tokenizer


WHOLE, LETTERS, SHORT = r"\w+", r"\w", r"\w{1,5}"


def model(folder: Path, pattern: str) -> str:
    """A model's folder, with a tokenizer."""
    model_files(folder)
    words_of(pattern).save(str(folder / "tokenizer.json"))
    return str(folder)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planner:
    """Plan a study of models with these tokenizers, whose data set is the file of facts."""
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)

    def run(*patterns: str, **choice: Any) -> Study:
        folders = {f"m{n}": pattern for n, pattern in enumerate(patterns)}
        sources = {name: {"source": model(tmp_path / name, p)} for name, p in folders.items()}
        datasets = {"facts": {"path": "data/facts.json", **choice}}
        config = study_config(models=sources, datasets=datasets, shard_size=100)
        return plan(parse(config, "study.yaml"), "study.yaml", plain_registry())

    return run


def subjects(study: Study) -> set[tuple[str, ...]]:
    """The subjects of the facts that are edited, for each model."""
    named = {r.case_id: r.subject for r in read_requests("data/facts.json")}
    return {tuple(named[case] for case in job.case_ids) for job in study.edits.values()}


def test_hard_is_a_subject_of_one_token_for_every_model(planned: Planner) -> None:
    assert subjects(planned(WHOLE, only="hard")) == {("Coral", "Harbor", "Tavel", "Elro")}
    assert subjects(planned(SHORT, only="hard")) == {("Coral", "Tavel", "Elro")}
    assert subjects(planned(WHOLE, SHORT, only="hard")) == {("Coral", "Tavel", "Elro")}


def test_normal_is_hard_for_no_model(planned: Planner) -> None:
    assert subjects(planned(SHORT, only="normal")) == {("Harbor",)}
    assert subjects(planned(SHORT, LETTERS, only="normal")) == {("Harbor",)}
    assert subjects(planned(LETTERS, only="normal")) == {("Coral", "Harbor", "Tavel", "Elro")}


def test_a_limit_takes_the_first_of_what_is_left(planned: Planner) -> None:
    assert subjects(planned(SHORT, only="hard", limit=2)) == {("Coral", "Tavel")}


def test_a_subject_inside_its_prompt_is_never_hard(planned: Planner, tmp_path: Path) -> None:
    inside = record(7, "Coral") | {"prompt": "The maker of Coral is"}
    write_json(tmp_path / "data" / "facts.json", [inside, record(8, "Elro")])
    assert subjects(planned(WHOLE, only="hard")) == {("Elro",)}
    assert subjects(planned(WHOLE, only="normal")) == {("Coral",)}


def test_a_record_that_cannot_be_edited_is_neither(planned: Planner, tmp_path: Path) -> None:
    flawed = record(7, "Coral") | {"target_new": ""}
    write_json(tmp_path / "data" / "facts.json", [flawed, record(8, "Elro"), record(9, "Harbor")])
    assert subjects(planned(SHORT, only="hard")) == {("Elro",)}
    assert subjects(planned(SHORT, only="normal")) == {("Harbor",)}


def test_normal_cases_are_early_or_late(planned: Planner, tmp_path: Path) -> None:
    prompts = {"Coral": "The {} is", "Elro": "The maker {} is", "Tavel": "The maker of {} is"}
    inside = [
        record(n, name) | {"prompt": p.format(name)} for n, (name, p) in enumerate(prompts.items())
    ]
    facts = [*inside, record(8, "Harbor"), record(9, "Osdor"), record(10, "…")]
    write_json(tmp_path / "data" / "facts.json", facts)
    assert subjects(planned(SHORT, only="early")) == {("Coral", "Elro", "Harbor")}
    assert subjects(planned(SHORT, only="late")) == {("Tavel",)}
    assert subjects(planned(SHORT, WHOLE, only="early")) == {("Coral", "Elro")}


def test_targets_of_one_token_for_every_model(planned: Planner, tmp_path: Path) -> None:
    targets = {"Coral": "Osdor", "Elro": "Osdorra", "Tavel": "Osdor Elro"}
    facts = [record(n, name) | {"target_new": new} for n, (name, new) in enumerate(targets.items())]
    write_json(tmp_path / "data" / "facts.json", facts)
    assert subjects(planned(SHORT, one_token_targets=True)) == {("Coral",)}
    assert subjects(planned(WHOLE, one_token_targets=True)) == {("Coral", "Elro")}
    assert subjects(planned(WHOLE, SHORT, one_token_targets=True)) == {("Coral",)}
    with pytest.raises(DataError, match=r"no case that is left has a new object of one token"):
        planned(LETTERS, one_token_targets=True)


@pytest.mark.parametrize("only", ["hard", "normal"])
def test_models_that_leave_no_case_are_refused(planned: Planner, only: str) -> None:
    with pytest.raises(DataError, match=rf"facts: .*facts\.json: no case .* `only: {only}"):
        planned(WHOLE, LETTERS, only=only)


def test_a_missing_tokenizer_is_an_error_only_if_cases_are_chosen(
    planned: Planner, tmp_path: Path
) -> None:
    models = {"hub": {"source": "nobody/no-such-model"}}
    choice = {"path": "data/facts.json", "limit": 2}
    config = study_config(models=models, datasets={"facts": {**choice, "only": "hard"}})
    with pytest.raises(TokenizerMissing, match=r"no-such-model has no tokenizer\.json"):
        plan(parse(config, "study.yaml"), "study.yaml", plain_registry())
    config = study_config(models=models, datasets={"facts": choice})
    study = plan(parse(config, "study.yaml"), "study.yaml", plain_registry())
    assert {len(job.case_ids) for job in study.edits.values()} == {2}


def test_a_file_that_is_not_a_tokenizer_is_named(planned: Planner, tmp_path: Path) -> None:
    planned(WHOLE, only="hard")
    (tmp_path / "m0" / "tokenizer.json").write_text("{}")
    choice = {"path": "data/facts.json", "only": "hard"}
    config = study_config(models={"m0": {"source": "m0"}}, datasets={"facts": choice})
    with pytest.raises(ModelError, match=r"m0/tokenizer\.json contains no tokenizer"):
        plan(parse(config, "study.yaml"), "study.yaml", plain_registry())


@pytest.mark.parametrize("name", ["tiny-gpt2", "tiny-llama"])
def test_planning_and_editing_agree_on_the_tokens_of_subjects(name: str) -> None:
    folder = RESOURCES / "models" / name
    bare = Tokenizer.from_file(str(folder / "tokenizer.json"))
    loaded = AutoTokenizer.from_pretrained(folder)
    found, targets = {True: 0, False: 0}, {True: 0, False: 0}
    for request in read_requests(RESOURCES / "real" / "facts.json", "counterfact"):
        place = tokenize_prompt(loaded, request.prompt, request.subject)
        hard = place.subject_tokens == 1 and request.subject_start == 0
        assert is_hard(request, bare) == hard
        assert is_early(request, bare) == (place.subject < 3 and not hard)
        one = len(continuation_ids(loaded, request.text, request.target_new)) == 1
        assert has_one_token_target(request, bare) == one
        found[hard] += 1
        targets[one] += 1
    assert min(found[True], *targets.values()) >= 10


@pytest.mark.skipif(not MERGES.exists(), reason="GPT-2's merges are not here")
def test_the_real_world_holds_enough_hard_and_normal_cases_for_gpt2() -> None:
    version, *lines = MERGES.read_text(encoding="utf-8").splitlines()
    assert version.startswith("#version")
    merges = [(left, right) for left, right in map(str.split, lines)]
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {word: n for n, word in enumerate([*symbols, *(a + b for a, b in merges)])}
    gpt2 = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    facts = read_requests(RESOURCES / "real" / "facts.json", "counterfact")
    hard = [request for request in facts if is_hard(request, gpt2)]
    assert len(hard) >= 60
    assert len({request.relation for request in hard}) >= 15
    assert len(facts) - len(hard) >= 200


def cases(study: Study) -> set[int]:
    """The cases that are edited."""
    return {case for job in study.edits.values() for case in job.case_ids}


def test_a_data_set_is_split_into_two_halves(planned: Planner) -> None:
    whole, tuning, reported = (
        cases(planned(WHOLE, split=split)) for split in (None, "tuning", "reported")
    )
    assert tuning | reported == whole
    assert not tuning & reported
    assert tuning and reported
    assert cases(planned(WHOLE, split="tuning", only="hard")) == tuning & cases(
        planned(WHOLE, only="hard")
    )


def test_a_half_is_limited_after_the_split(planned: Planner) -> None:
    assert len(cases(planned(WHOLE, split="reported", limit=1))) == 1
    assert cases(planned(WHOLE, split="reported", limit=1)) <= cases(
        planned(WHOLE, split="reported")
    )


def two_models(datasets: dict[str, Any], **sections: Any) -> Study:
    """A study by ROME of the models m0 and m1, which another one has written here."""
    models = {name: {"source": name} for name in ("m0", "m1")}
    sections = {"editors": {"rome": {"options": {"layer": 1}}}} | sections
    config = study_config(models=models, datasets=datasets, **sections)
    return plan(parse(config, "study.yaml"), "study.yaml", load_registry())


def test_a_data_set_may_be_for_some_models(planned: Planner) -> None:
    planned(WHOLE, SHORT)
    file = "data/facts.json"
    study = two_models(
        {"some": {"path": file, "only": "hard", "models": ["m0"]}, "all": {"path": file}},
        shard_size=100,
        layers={"cases": 2},
        sequences={"edits": 2},
        mechanism={"editor": "rome", "hard": "some", "normal": "all"},
    )
    places = {("m0", "some"), ("m0", "all"), ("m1", "all")}
    assert {(key.model, key.dataset) for key in study.edits} == places
    assert {(key.model, key.dataset) for key in study.sequences} == places
    assert {key.dataset for key in study.values if key.model == "m1"} == {"all"}
    assert [each.dataset.name for each in study.layers["m1"].sets] == ["all"]
    assert [*study.mechanism] == ["m0"]
    # Of m0's tokenizer alone; m1 cuts Harbor in two.
    (job,) = (job for key, job in study.edits.items() if key.dataset == "some")
    assert len(job.case_ids) == 4


def test_editors_that_search_for_the_same_value_share_the_search(place: Path) -> None:
    editors = {name: {"options": {"layers": [0, 1]}} for name in ("memit", "memit-seq", "emmet")}
    editors["other"] = {"uses": "memit", "options": {"layers": [0, 1], "sampled_templates": 2}}
    config = parse(study_config(editors=editors, shard_size=4), "study.yaml")
    study = plan(config, "study.yaml", load_registry())
    files = {key.editor: [file.path for file in job.values] for key, job in study.edits.items()}
    assert files["memit"] == files["memit-seq"] == files["emmet"] != files["other"]
    assert len(study.values) == 2


def test_an_editor_may_be_for_some_models(planned: Planner) -> None:
    planned(WHOLE, SHORT)
    editors = {"rome": {"options": {"layer": 1}}, "noop": {"models": ["m1"]}}
    study = two_models({"facts": {"path": "data/facts.json"}}, editors=editors)
    assert {(key.model, key.editor) for key in study.edits} == {
        ("m0", "rome"), ("m1", "rome"), ("m1", "noop"),
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"editors\.noop\.models: no model has the label 'm3'"):
        two_models({"facts": {"path": "data/facts.json"}}, editors={"noop": {"models": ["m3"]}})


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["m0", "m2"], r"datasets\.facts\.models: no model has the label 'm2'"),
        (["m0"], "none of the datasets is for the model 'm1'"),
    ],
)
def test_data_sets_for_no_known_model_and_models_without_one_are_refused(
    planned: Planner, models: list[str], message: str
) -> None:
    planned(WHOLE, SHORT)
    with pytest.raises(ConfigError, match=message):
        two_models({"facts": {"path": "data/facts.json", "models": models}})


def test_a_mechanism_of_data_sets_for_different_models_is_refused(planned: Planner) -> None:
    planned(WHOLE, SHORT)
    sets = {
        name: {"path": "data/facts.json", "models": [model]}
        for name, model in (("one", "m0"), ("two", "m1"))
    }
    choice = {"editor": "rome", "hard": "one", "normal": "two"}
    with pytest.raises(ConfigError, match="no model has both data sets, 'one' and 'two'"):
        two_models(sets, mechanism=choice)
