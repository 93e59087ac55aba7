"""Which texts a model is measured on: those of a file, its own, or of which world by default."""

from pathlib import Path
from typing import Any

import pytest

from editcore.config.study import parse
from editcore.datasets.invented_world import REAL_TASKS, TASKS
from editcore.datasets.task_files import task_file
from editcore.errors import ConfigError, DataError
from editcore.planning import paths
from editcore.planning.jobs import TextJob
from tests.planning.conftest import Planner
from tests.studies import TEXTS, model_files, study_config, write_json

TASK = "resources/tasks/words.yaml"


@pytest.fixture
def worlds(place: Path) -> Path:
    """Resources with both worlds' texts, and a bundled model beside the own one."""
    for file in ("world/perplexity", "world/moments", "real/perplexity"):
        write_json(place / "resources" / f"{file}.json", TEXTS)
    model_files(place / "resources" / "models" / "small")
    return place


MODELS = {"own": {"source": "model"}, "small": {}, "linked": {"source": "resources/models/small"}}


def test_a_model_that_writes_its_texts_has_a_job_for_them(planned: Planner) -> None:
    study = planned(moments={"source": "model", "tokens": 700}, seed=4)
    ((key, job),) = study.texts.items()
    assert job == TextJob(model=next(iter(study.prefixes.values())).model, tokens=700, seed=4)
    (moments,) = study.moments.values()
    assert moments.texts is not None
    assert moments.texts == job.spec
    assert moments.texts.path == str(paths.texts(*key))
    assert moments.sources == [str(paths.texts(*key))]
    assert study.texts_inputs(*key) == list(study.model_files["tiny"])
    study.write()
    assert paths.texts_job(*key).read_text() == job.as_json()


def test_texts_depend_on_seed_and_tokens_and_not_on_layers(planned: Planner) -> None:
    def keys(layer: int = 1, tokens: int = 700, seed: int = 0) -> set[Any]:
        editors = {"plain": {"options": {"layer": layer}}}
        moments = {"source": "model", "tokens": tokens}
        return set(planned(editors=editors, moments=moments, seed=seed).texts)

    assert keys() == keys(layer=2)
    assert keys().isdisjoint(keys(tokens=701) | keys(seed=1))


def test_a_tolerance_makes_another_c_from_the_same_texts(planned: Planner) -> None:
    exact, early = (
        planned(moments={"source": "model", "tokens": 700, "tolerance": tolerance})
        for tolerance in (None, 0.1)
    )
    assert exact.texts.keys() == early.texts.keys()
    assert exact.moments.keys().isdisjoint(early.moments)
    assert [job.tolerance for job in early.moments.values()] == [0.1]
    for wrong in (0, 1, -0.1, "nan"):
        with pytest.raises(ConfigError, match=r"moments\.tolerance"):
            parse(study_config(moments={"tolerance": wrong}), "s")


def test_no_texts_are_written_that_no_editor_needs(planned: Planner) -> None:
    editors = {"plain": {"options": {"layer": 1, "second_moment": False}}}
    assert planned(editors=editors, moments={"source": "model"}).texts == {}


def test_a_file_and_own_texts_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match="two answers to where texts are from; give one"):
        parse(study_config(moments={"source": "model", "path": "data/texts.json"}), "s")
    with pytest.raises(ConfigError, match=r"moments\.source"):
        parse(study_config(moments={"source": "modle"}), "s")


def test_only_bundled_models_read_the_invented_world_by_default(
    worlds: Path, planned: Planner
) -> None:
    study = planned(models=MODELS, perplexity={"texts": 2}, moments={})
    read = {job.model.name: job.perplexity.path for job in study.edits.values()}
    world = "resources/world/perplexity.json"
    assert read == {"own": "resources/real/perplexity.json", "small": world, "linked": world}
    moments = {job.model.name: job.texts for job in study.moments.values()}
    assert [key.model for key in study.texts] == ["own"]
    for name, texts in moments.items():
        assert texts is not None
        file, tokens = texts.path, texts.tokens
        own = (str(paths.texts(*next(iter(study.texts)))), 60_000)
        assert (file, tokens) == (
            own if name == "own" else ("resources/world/moments.json", 200_000)
        )
    assert study.notes == []


def test_only_bundled_models_are_asked_of_the_invented_world_by_default(
    worlds: Path, planned: Planner
) -> None:
    given: dict[str, Any] = {"models": MODELS, "perplexity": {"texts": 2}, "moments": {}}
    study = planned(**given, downstream={})
    jobs = study.downstream.items()
    tasks = {name: {task.split("_")[0] for task in job.tasks} for name, job in jobs}
    assert tasks == {"own": {"real"}, "small": {"world"}, "linked": {"world"}}
    assert {len(job.tasks) for job in study.downstream.values()} == {5}
    assert study.notes == []
    named = planned(**given, downstream={"tasks": ["piqa"]})
    assert {job.tasks for job in named.downstream.values()} == {("piqa",)}


def test_every_default_task_is_described_in_a_file() -> None:
    assert all(task_file(name) for name in (*TASKS, *REAL_TASKS))


def test_an_own_model_on_the_invented_world_is_noted(worlds: Path, planned: Planner) -> None:
    write_json(worlds / "resources/world/words.json", [])
    data = {"dataset_kwargs": {"data_files": {"test": "resources/world/words.json"}}}
    write_json(worlds / TASK, {"task": "words", **data})
    study = planned(
        models=MODELS,
        perplexity={"path": "resources/world/perplexity.json", "texts": 2},
        moments={"path": "resources/world/moments.json"},
        downstream={"tasks": ["words"]},
    )
    (note,) = study.notes
    assert note.startswith(
        "note: own is not a bundled model, but is measured on the invented world"
    )
    for use in (
        "perplexity on resources/world/perplexity.json",
        "C from resources/world/moments.json",
        "tasks words",
    ):
        assert use in note


def test_the_bundled_texts_must_be_enough(worlds: Path, planned: Planner) -> None:
    with pytest.raises(DataError, match="50 texts were asked for"):
        planned(perplexity={}, moments={})
