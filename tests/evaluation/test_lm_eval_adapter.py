"""lm-eval's tasks on edited models: our reader agrees with lm-eval's own, and nothing is cached."""

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import datasets
import lm_eval
import pytest
import torch
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import CachingLM
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

from editcore.datasets import task_files
from editcore.datasets.invented_world import downstream_tasks
from editcore.errors import ConfigError, EditcoreError
from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.evaluation.qa_overlap import process_results
from editcore.models.loading import LoadedModel, load_model
from editcore.updates.delta import Delta, LowRankUpdate
from resources.generator.tasks import Passage, written

ROOT = Path(__file__).parents[2]
NAMES = downstream_tasks(None, "tiny-gpt2")
ITEMS = 8
# Of the two readers' log-probabilities, in nats: they batch differently, so rounding differs.
ROUNDING = 2e-4


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    return load_model("tiny-gpt2", "tiny-gpt2")


@pytest.fixture(scope="module")
def suite() -> Suite:
    """Every bundled task, a few items of each."""
    return Suite.load(NAMES, ITEMS)


def change(model: LoadedModel, scale: float, seed: int = 0) -> Delta:
    """A rank-one change of the down-projection at block 2; 30 is enough to err, not to collapse."""
    name = model.parts.down_weight(2)
    draw = torch.Generator().manual_seed(seed)
    d_in, d_out = model.model.get_parameter(name).shape
    outputs, inputs = (torch.randn(n, 1, generator=draw) / n**0.5 for n in (d_out, d_in))
    return Delta({name: LowRankUpdate(scale * outputs, inputs)})


def prompts(suite: Suite, name: str) -> list[tuple[str, str]]:
    """A task's prompt, followed by the wanted answer if there is one."""
    (task,) = suite.tasks[name]
    return [(instance.args[0], instance.args[1]) for instance in task.instances]


def test_prompts_are_worded_as_in_the_models_training(suite: Suite) -> None:
    items = {
        name: json.loads((ROOT / f"resources/world/tasks/{name}.jsonl").read_text().splitlines()[0])
        for name in ("passages", "questions", "fact_choices", "continuations", "cloze")
    }
    passage = items["passages"]
    wanted = written([Passage(passage["passage"], passage["question"], passage["answer"])])
    assert prompts(suite, "world_passages")[0][0] + f" {passage['answer']}" == wanted
    question = items["questions"]["question"]
    assert prompts(suite, "world_questions")[0][0] == f"Question: {question}\nAnswer:"
    fact = items["fact_choices"]
    assert [text for _, text in prompts(suite, "world_fact_choices")[:4]] == [
        f" {choice}" for choice in fact["choices"]
    ]
    assert prompts(suite, "world_fact_choices")[0][0] == f"Question: {fact['question']}\nAnswer:"
    begun = items["continuations"]
    assert prompts(suite, "world_continuations")[0] == (
        begun["context"], f" {begun['choices'][0]}",
    )  # fmt: skip
    cloze = items["cloze"]
    assert prompts(suite, "world_cloze")[0] == (cloze["context"], f" {cloze['word']}")


@pytest.fixture(scope="module", params=[0.0, 60.0], ids=["unedited", "edited"])
def readers(request: pytest.FixtureRequest, model: LoadedModel) -> Iterator[tuple[EditedLM, HFLM]]:
    """Our reader and lm-eval's own, both on the same unedited or edited weights."""
    own = EditedLM(model)
    theirs = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=4, device="cpu")
    with own.edited(change(model, request.param)):
        yield own, theirs


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_those_of_lm_eval_s_own_reader(
    name: str, readers: tuple[EditedLM, HFLM], suite: Suite
) -> None:
    own, theirs = readers
    (task,) = suite.tasks[name]
    kind = task.instances[0].request_type
    found = getattr(own, kind)(task.instances)
    wanted = getattr(theirs, kind)(task.instances, disable_tqdm=True)
    if kind == "generate_until":
        assert found == wanted
    else:
        assert [greedy for _, greedy in found] == [bool(greedy) for _, greedy in wanted]
        for (mine, _), (other, _) in zip(found, wanted, strict=True):
            assert mine == pytest.approx(other, abs=ROUNDING)


def test_scores_are_those_of_lm_eval_s_evaluation_bit_by_bit(
    readers: tuple[EditedLM, HFLM], suite: Suite
) -> None:
    own, theirs = readers
    loaded = {task.task_name: task for (task,) in suite.tasks.values()}
    found = lm_eval.evaluate(
        theirs, {"tasks": loaded, "groups": {}, "group_map": {}}, limit=ITEMS, bootstrap_iters=0
    )
    for score in suite.scores(own):
        values = found["results"][score.task]
        assert score.score == next(v for k, v in values.items() if k.startswith(f"{score.metric},"))
        assert score.n_items == ITEMS


def test_rolling_log_probabilities_are_lm_eval_s(readers: tuple[EditedLM, HFLM]) -> None:
    own, theirs = readers
    text = "Karin is a sailor near the theatre. " * 30
    requests = [Instance("loglikelihood_rolling", {}, (text,), 0, ("t", 0, 1))]
    (wanted,) = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert own.loglikelihood_rolling(requests)[0] == pytest.approx(wanted, rel=1e-4)


def test_the_second_model_pays_for_no_task_and_no_tokenising(
    model: LoadedModel, suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = EditedLM(model)
    first = suite.scores(lm)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this was to be done once")

    monkeypatch.setattr(ConfigurableTask, "build_all_requests", refuse)
    monkeypatch.setattr(datasets.Dataset, "from_list", refuse)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    monkeypatch.setattr(lm, "tok_encode", refuse)
    with lm.edited(change(model, 0.0)):
        second = suite.scores(lm)
    assert [score.score for score in second] == [score.score for score in first]


def test_lm_eval_s_response_cache_is_not_used_since_it_ignores_weights(
    model: LoadedModel, suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm, broken = EditedLM(model), change(model, 300.0)
    (task,) = suite.tasks["world_cloze"]
    caching = CachingLM(lm, str(tmp_path / "answers.db"))
    before = caching.loglikelihood(task.instances)
    with lm.edited(broken):
        assert caching.loglikelihood(task.instances) == before, "the cache that must not be used"
    plain = EditedLM(model)
    monkeypatch.setattr(plain.cache_hook, "add_partial", lambda *_: pytest.fail("cached"))
    whole = suite.scores(plain)
    with plain.edited(broken):
        damaged = suite.scores(plain)
    assert [score.score for score in damaged] != [score.score for score in whole]
    assert [s.score for s in suite.scores(plain)] == [s.score for s in whole]


def test_a_model_without_finite_logits_gets_no_score_and_its_weights_back(
    model: LoadedModel, suite: Suite
) -> None:
    lm, delta = EditedLM(model), change(model, 1e38)
    (name,) = delta.updates
    before = model.model.get_parameter(name).detach().clone()
    with lm.edited(delta):
        scores = suite.scores(lm)
    assert {(s.score, s.stderr, s.status) for s in scores} == {(None, None, "nonfinite")}
    assert torch.equal(model.model.get_parameter(name), before)
    assert {s.status for s in suite.scores(lm)} == {"ok"}


def test_guessing_gives_one_of_the_choices_and_nothing_without_them(
    model: LoadedModel, suite: Suite
) -> None:
    guesses = {score.task: score.random for score in suite.scores(EditedLM(model))}
    assert guesses["world_continuations"] == guesses["world_fact_choices"] == 0.25
    assert guesses["world_cloze"] == guesses["world_passages"] == guesses["world_questions"] == 0


def write_task(path: Path, **keys: object) -> Path:
    path.write_text(yaml.safe_dump(keys))
    return path


def test_a_group_is_one_task_over_all_its_items(model: LoadedModel, tmp_path: Path) -> None:
    members = ["world_continuations", "world_fact_choices"]
    group = write_task(tmp_path / "both.yaml", group="both", task=members)
    one, other = Suite.load(members, 4).scores(EditedLM(model))
    (both,) = Suite.load([str(group)], 4).scores(EditedLM(model))
    assert (both.task, both.n_items, both.random) == ("both", 8, 0.25)
    assert one.score is not None and other.score is not None
    assert both.score == (one.score + other.score) / 2


def test_our_squad_needs_no_network(tmp_path: Path, model: LoadedModel) -> None:
    docs = [
        {"title": "A", "context": "B is C.", "question": "What is B?", "answers": {"text": ["C"]}},
        {"title": "A", "context": "B is C.", "question": "What is D?", "answers": {"text": []}},
    ]
    (tmp_path / "squad.json").write_text(json.dumps(docs))
    local = write_task(
        tmp_path / "local.yaml",
        include=str(ROOT / "resources/tasks/squad2_f1.yaml"),
        task="local",
        dataset_path="json",
        dataset_kwargs={"data_files": {"validation": str(tmp_path / "squad.json")}},
        generation_kwargs={"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
    )
    (score,) = Suite.load([str(local)], None).scores(EditedLM(model))
    assert (score.metric, score.n_items, score.random) == ("f1", 2, 0.0)


@pytest.mark.parametrize(
    ("accepted", "answer", "exact", "f1"),
    [
        ({"answer": "black horse"}, " The black horse.", 1.0, 1.0),
        ({"answer": "black horse"}, " black cat", 0.0, 0.5),
        ({"answers": {"text": ["Rome", "the city of Rome"]}}, "city Rome", 0.0, 0.8),
        ({"answers": {"text": []}}, "Rome", 0.0, 0.0),
        ({"answers": {"text": []}}, "", 1.0, 1.0),
    ],
)
def test_answers_are_scored_by_their_words(
    accepted: dict[str, object], answer: str, exact: float, f1: float
) -> None:
    found = process_results(accepted, [answer])
    assert found == pytest.approx({"exact_match": exact, "f1": f1})


def test_mmlu_s_subjects_are_lm_eval_s() -> None:
    group = yaml.safe_load((ROOT / "resources/tasks/mmlu_subset.yaml").read_text())
    folder = Path(lm_eval.__file__).parent / "tasks" / "mmlu" / "default"
    known = {path.stem for path in folder.glob("*.yaml")}
    assert set(group["task"]) <= known
    assert task_files.files("mmlu_subset") == [str(Path("resources/tasks/mmlu_subset.yaml"))]


def test_the_files_of_a_task_are_its_description_and_its_data() -> None:
    assert [Path(file).name for file in task_files.files("world_cloze")] == [
        "world_cloze.yaml",
        "cloze.jsonl",
    ]
    assert task_files.files("piqa") == []


@pytest.mark.parametrize(
    ("content", "words"),
    [("- 1", "expected the keys"), ("task: [", "not valid YAML"), (None, "no task file")],
)
def test_a_task_file_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(EditcoreError, match=words):
        task_files.files(str(tmp_path / "t.yaml"))


def test_a_task_that_lm_eval_cannot_make_is_named(tmp_path: Path) -> None:
    task = write_task(tmp_path / "odd.yaml", task="odd", dataset_path="json", output_type="none")
    with pytest.raises(ConfigError, match=r"odd\.yaml cannot be loaded: .*none"):
        Suite.load([str(task)], 1)


def test_a_task_without_items_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "filters.py").write_text("def none(docs):\n    return docs.select([])\n")
    own = Path(task_files.task_file("world_cloze") or "").read_text()
    file = tmp_path / "nothing.yaml"
    file.write_text(f"{own}process_docs: !function filters.none\n")
    with pytest.raises(ConfigError, match=r"nothing\.yaml cannot be loaded"):
        Suite.load((str(file),), 4)


def test_a_task_whose_item_lacks_a_field_is_refused_by_name(tmp_path: Path) -> None:
    items = [{"question": "Who?", "choices": ["A", "B"], "answer": 0}, {"question": "Who?"}]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    task = write_task(
        tmp_path / "lacking.yaml",
        task="lacking",
        dataset_path="json",
        dataset_kwargs={"data_files": {"test": str(tmp_path / "items.jsonl")}},
        test_split="test",
        output_type="multiple_choice",
        doc_to_text="{{question}}",
        doc_to_choice="choices",
        doc_to_target="answer",
    )
    with pytest.raises(ConfigError, match=r"task lacking: lm-eval cannot build its questions"):
        Suite.load([str(task)], None)


def test_nothing_else_imports_lm_eval_and_nothing_its_cache() -> None:
    sources = {f.name: f.read_text(encoding="utf-8") for f in (ROOT / "editcore").rglob("*.py")}
    imports = re.compile(r"^\s*(?:from|import) lm_eval", re.MULTILINE)
    assert [name for name, text in sources.items() if imports.search(text)] == [
        "lm_eval_adapter.py"
    ]
    assert not re.search(r"CachingLM|cache_requests|use_cache", sources["lm_eval_adapter.py"])


def test_answers_drawn_at_random_are_refused(model: LoadedModel, suite: Suite) -> None:
    (task,) = suite.tasks["world_questions"]
    drawn = Instance("generate_until", {}, ("Q", {"do_sample": True}), 0, ("t", 0, 1))
    with pytest.raises(ConfigError, match="at random"):
        EditedLM(model).generate_until([drawn, *random.sample(task.instances, 2)])
