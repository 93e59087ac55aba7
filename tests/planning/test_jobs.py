"""A study becomes self-contained jobs, and what cannot work is refused before anything runs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.errors import ConfigError, DataError, EditcoreError, ModelError, PluginError
from editcore.planning import paths
from editcore.planning.jobs import EditJob, MomentJob, PrefixJob, read, write_if_changed
from editcore.planning.stages.jobs import DownstreamJob
from editcore.planning.study import listed_config, listed_edits, listed_scores
from tests.planning.conftest import Planner
from tests.studies import (
    TEXTS,
    model_files,
    write_json,
)

SHARD = ("tiny", "plain", "facts", "000")
SHRINK_MISSPELT = {"uses": "shrink", "options": {"factr": 1.0}}


def test_cases_are_cut_into_shards_in_the_file_s_order(planned: Planner) -> None:
    edits = planned().edits
    assert [job.case_ids for job in edits.values()] == [(10, 11, 12), (13,)]
    assert list(edits) == [SHARD, ("tiny", "plain", "facts", "001")]


def test_a_limit_takes_the_first_records(planned: Planner) -> None:
    study = planned(datasets={"facts": {"path": "data/facts.json", "limit": 2}})
    assert [job.case_ids for job in study.edits.values()] == [(10, 11)]
    assert study.sizes == {("tiny", "plain", "facts"): 2}


def test_a_job_holds_all_that_its_command_needs(planned: Planner) -> None:
    job = planned(seed=4).edits[SHARD]
    assert job.model.source == "model"
    assert job.editor.options == {
        "layer": 1, "strength": 1.0, "key_strategy": "even", "second_moment": True,
    }  # fmt: skip
    assert (job.editor.distribution, job.editor.version) == ("editcore-plain", "1.2")
    assert len(job.editor.code) == 12
    assert job.dataset.path == "data/facts.json"
    assert job.seed == 4
    assert job.prefixes == "results/artefacts/model=tiny/prefixes.json"
    (file,) = job.moments.values()
    assert re.fullmatch(
        r"results/artefacts/model=tiny/moments-[0-9a-f]{8}/layer-1\.safetensors", file
    )


def test_jobs_survive_their_files(planned: Planner) -> None:
    study = planned()
    study.write()
    base = Path("results/jobs")
    assert (
        read(EditJob, base / "edits/model=tiny/editor=plain/dataset=facts/shard-000.json")
        == (study.edits[SHARD])
    )
    assert read(PrefixJob, base / "prefixes/model=tiny.json") == study.prefixes["tiny"]
    (file,) = (base / "moments/model=tiny").iterdir()
    assert read(MomentJob, file) == study.moments["tiny", file.stem]
    listed = listed_edits(base / "study.json")
    assert [str(path) for path in listed] == study.edit_files
    assert list(listed.values()) == list(study.edits.values())
    assert listed_config(base / "study.json") == study.config


def test_what_is_written_again_unchanged_keeps_its_time(planned: Planner) -> None:
    assert len(planned().write()) == 6
    assert planned().write() == []


def test_one_editor_s_option_changes_its_jobs_alone(planned: Planner) -> None:
    def editors(strength: float) -> dict[str, Any]:
        other = {"uses": "plain", "options": {"layer": 1, "strength": strength}}
        return {"plain": {"options": {"layer": 1}}, "other": other}

    planned(editors=editors(1.0)).write()
    changed = planned(editors=editors(2.0)).write()
    names = [path.as_posix() for path in changed if path.name != "study.json"]
    assert len(names) == 2
    assert all("editor=other" in name for name in names)


def test_transforms_are_part_of_the_job(planned: Planner) -> None:
    chosen = [{"uses": "shrink"}, {"uses": "shrink", "options": {"factor": 0.1}}]
    job = planned(editors={"plain": {"options": {"layer": 1}, "transforms": chosen}}).edits[SHARD]
    assert [spec.options for spec in job.editor.transforms] == [{"factor": 0.5}, {"factor": 0.1}]
    assert {spec.distribution for spec in job.editor.transforms} == {"editcore-plain"}


def test_a_wrapper_is_part_of_the_job_and_adds_what_it_requires(planned: Planner) -> None:
    steps = [{"uses": "careful"}, {"uses": "shrink"}]
    study = planned(editors={"plain": {"options": {"layer": 1}, "transforms": steps}})
    job = study.edits[SHARD]
    assert [spec.uses for spec in job.editor.transforms] == ["careful", "shrink"]
    assert set(job.moments) == {1, 2}
    assert len({spec.code for spec in job.editor.transforms} - {""}) == 1


def test_options_by_model_replace_the_editor_s(planned: Planner, tmp_path: Path) -> None:
    model_files(tmp_path / "second", layers=2)
    study = planned(
        models={"tiny": {"source": "model"}, "small": {"source": "second"}},
        editors={"plain": {"options": {"layer": 2}, "options_by_model": {"small": {"layer": 0}}}},
    )
    assert {(job.model.name, job.editor.options["layer"]) for job in study.edits.values()} == {
        ("tiny", 2),
        ("small", 0),
    }
    layers = {name: job.layers for (name, _), job in study.moments.items()}
    assert layers == {"tiny": (2,), "small": (0,)}


def test_an_editor_without_second_moment_asks_for_none(planned: Planner) -> None:
    options = {"layer": 1, "second_moment": False}
    study = planned(editors={"plain": {"options": options}}, moments={"path": "nowhere.json"})
    assert study.moments == {}
    assert study.edits[SHARD].moments == {}


def test_inputs_are_artefacts_data_and_the_model(planned: Planner) -> None:
    study = planned()
    job = study.edits[SHARD]
    model = {"model/config.json", "model/model.safetensors", "model/tokenizer.json"}
    data = {"data/facts.json", "data/texts.json"}
    artefacts = {job.prefixes, str(Path(job.moments[1]).parent)}
    assert set(study.edits_inputs(*SHARD)) == artefacts | data | model
    assert set(study.prefixes_inputs("tiny")) == model
    (names,) = study.moments
    assert set(study.moments_inputs(*names)) == {"data/texts.json"} | model


def two_layers(*layers: int) -> dict[str, Any]:
    return {f"at-{n}": {"uses": "plain", "options": {"layer": n}} for n in layers}


def test_editors_with_the_same_layers_share_a_job_and_others_leave_it_alone(
    planned: Planner,
) -> None:
    same = {"again": {"uses": "plain", "options": {"layer": 1, "strength": 2.0}}}
    one = planned(editors=two_layers(1) | same)
    both = planned(editors=two_layers(1, 2) | same)
    assert [job.layers for job in one.moments.values()] == [(1,)]
    assert [job.layers for job in both.moments.values()] == [(1,), (2,)]
    assert one.moments.items() < both.moments.items()
    assert one.edits.items() < both.edits.items()


@pytest.mark.parametrize(
    "sections",
    [
        {"moments": {"path": "data/texts.json", "tokens": 501}},
        {"moments": {"path": "data/facts.txt", "tokens": 500}},
        {"models": {"tiny": {"source": "model", "dtype": "bfloat16"}}},
        {"models": {"tiny": {"source": "model", "revision": "b"}}},
        {"models": {"tiny": {"source": "model", "published_moments": "data/h.{layer}.npz"}}},
    ],
)
def test_what_moments_are_made_from_is_in_their_name(
    planned: Planner, tmp_path: Path, sections: dict[str, Any]
) -> None:
    (tmp_path / "data" / "facts.txt").write_text("One text.", encoding="utf-8")
    (tmp_path / "data" / "h.1.npz").touch()
    before, after = planned(), planned(**sections)
    assert before.moments.keys().isdisjoint(after.moments)
    assert before.edits[SHARD].moments != after.edits[SHARD].moments


def test_published_moments_replace_texts(planned: Planner, tmp_path: Path) -> None:
    for layer in (1, 2):
        (tmp_path / "data" / f"h.{layer}.npz").touch()
    published = {"tiny": {"source": "model", "published_moments": "data/h.{layer}.npz"}}
    study = planned(models=published, editors=two_layers(1, 2), moments={"path": "nowhere.json"})
    for names, job in study.moments.items():
        assert (job.published, job.texts) == ("data/h.{layer}.npz", None)
        assert f"data/h.{job.layers[0]}.npz" in study.moments_inputs(*names)


def test_a_hub_id_needs_no_network_and_no_files(planned: Planner) -> None:
    study = planned(models={"xl": {"source": "nobody/no-such-model"}})
    assert study.model_files["xl"] == ()
    assert study.edits["xl", "plain", "facts", "000"].model.source == "nobody/no-such-model"


def test_a_bundled_model_is_found_by_name(planned: Planner, tmp_path: Path) -> None:
    model_files(tmp_path / "resources" / "models" / "tiny-one")
    study = planned(models={"tiny-one": None})
    assert any("tiny-one/model.safetensors" in name for name in study.model_files["tiny-one"])


def test_a_bundled_file_is_found_from_elsewhere(planned: Planner, tmp_path: Path) -> None:
    home = tmp_path / "resources" / "world"
    write_json(home / "perplexity.json", TEXTS)
    (tmp_path / "elsewhere").mkdir()
    study = planned(perplexity={"path": "resources/world/perplexity.json", "texts": 4})
    assert study.edits[SHARD].perplexity.path == "resources/world/perplexity.json"


def test_gpus_are_asked_for_only_where_the_model_runs_on_one(planned: Planner) -> None:
    models = {"a": {"source": "model"}, "b": {"source": "model", "device": "cuda:1"}}
    study = planned(models=models)
    assert (study.gpus("a"), study.gpus("b")) == (0, 1)


def test_tasks_are_a_job_per_model_after_edits_that_change_weights(planned: Planner) -> None:
    assert planned().downstream == {}
    editors = {"plain": {"options": {"layer": 1}}, "aside": {}}
    task = "resources/tasks/words.yaml"
    write_json(Path(task), {"task": "words", "dataset_kwargs": {"data_files": {"test": task}}})
    study = planned(editors=editors, downstream={"tasks": ["words", "piqa"], "count": 5})
    job = study.downstream["tiny"]
    assert (job.tasks, job.count, job.limit) == (("words", "piqa"), 5, 200)
    assert [file.rows for file in job.edits] == [f for f in study.edit_files if "plain" in f]
    edits = {name for file in job.edits for name in (file.rows, file.deltas)}
    model = {"model/config.json", "model/model.safetensors", "model/tokenizer.json"}
    assert set(study.downstream_inputs("tiny")) == edits | model | {task, "data/texts.json"}
    study.write()
    assert read(DownstreamJob, paths.downstream_job("tiny")) == job
    listed = listed_scores(paths.STUDY_FILE)
    assert listed == {Path("results/downstream/model=tiny/scores.parquet"): job}
    assert len(study.summaries) == 7


def folder_without(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "model" / name).unlink()

    return change


def leave(folder: Path) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("change", "sections", "kind", "words"),
    [
        (leave, {"editors": {"plian": {}}}, PluginError, ["editors.plian", "mean 'plain'?"]),
        (leave, {"metrics": ["acuracy"]}, PluginError, ["metrics", "'accuracy'?"]),
        (
            leave,
            {"editors": {"plain": {"options": {"layr": 1}}}},
            ConfigError,
            ["editors.plain.options", "layr", "Did you mean 'layer'?"],
        ),
        (
            leave,
            {"editors": {"plain": {"options": {"layer": 1, "key_strategy": "evn"}}}},
            PluginError,
            ["editors.plain.options", "'even'?"],
        ),
        (
            leave,
            {"editors": {"plain": {"options": {"layer": 1}, "options_by_model": {"tny": {}}}}},
            ConfigError,
            ["editors.plain.options_by_model.tny", "Did you mean 'tiny'?"],
        ),
        (
            leave,
            {"editors": {"plain": {"options": {"layer": 3}}}},
            ConfigError,
            ["editors.plain", "layer 3", "3 layers, 0 to 2"],
        ),
        (leave, {"editors": {"plain": {"options": {"layer": -1}}}}, ConfigError, ["layer -1"]),
        (
            leave,
            {"editors": {"plain": {"options": {"layer": 1}, "transforms": [{"uses": "shrnk"}]}}},
            PluginError,
            ["editors.plain.transforms.0", "unknown transform", "mean 'shrink'?"],
        ),
        (
            leave,
            {"editors": {"plain": {"options": {"layer": 1}, "transforms": [SHRINK_MISSPELT]}}},
            ConfigError,
            ["editors.plain.transforms.0.options", "factr", "Did you mean 'factor'?"],
        ),
        (
            leave,
            {"editors": {"once": {"transforms": [{"uses": "careful"}]}}},
            ConfigError,
            ["editors.once.transforms", "nothing to be careful with"],
        ),
        (
            leave,
            {"editors": {"plain": {"options": {"layer": 2}, "transforms": [{"uses": "careful"}]}}},
            ConfigError,
            ["editors.plain", "layer 3", "3 layers, 0 to 2"],
        ),
        (
            leave,
            {"editors": {"aside": {"transforms": [{"uses": "shrink"}]}}},
            ConfigError,
            ["editors.aside.transforms", "changes no weights"],
        ),
        (
            leave,
            {"models": {"tiny": {"source": "./nowhere"}}},
            ModelError,
            ["models.tiny", "./nowhere"],
        ),
        (
            leave,
            {"models": {"tiny": {"source": "data/nowhere"}}},
            ModelError,
            ["models.tiny", "data/nowhere"],
        ),
        (folder_without("model.safetensors"), {}, ModelError, ["models.tiny", "no weights"]),
        (folder_without("tokenizer.json"), {}, ModelError, ["models.tiny", "no tokenizer"]),
        (folder_without("config.json"), {}, ModelError, ["models.tiny", "no config.json"]),
        (
            leave,
            {"datasets": {"facts": {"path": "data/none.json"}}},
            DataError,
            ["datasets.facts", "data/none.json"],
        ),
        (
            leave,
            {"perplexity": {"path": "data/texts.json", "texts": 5}},
            DataError,
            ["perplexity", "5 texts were asked for", "it has 4"],
        ),
        (leave, {"moments": {"path": "data/none.json"}}, DataError, ["moments", "none.json"]),
        (
            leave,
            {"downstream": {"tasks": ["none.yaml"]}},
            ConfigError,
            ["downstream.tasks", "none.yaml"],
        ),
        (leave, {"downstream": {"tasks": ["a", "b", "a"]}}, ConfigError, ["tasks", "the name a"]),
        (
            leave,
            {"models": {"tiny": {"source": "model", "published_moments": "data/h.{layer}.npz"}}},
            DataError,
            ["models.tiny.published_moments", "data/h.1.npz"],
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    planned: Planner,
    tmp_path: Path,
    change: Callable[[Path], None],
    sections: dict[str, Any],
    kind: type[EditcoreError],
    words: list[str],
) -> None:
    change(tmp_path)
    with pytest.raises(kind) as caught:
        planned(**sections)
    message = str(caught.value)
    assert message.startswith("study.yaml: ")
    assert all(word in message for word in words), message


def test_a_misspelt_bundled_name_is_not_taken_for_a_hub_id(
    planned: Planner, tmp_path: Path
) -> None:
    model_files(tmp_path / "resources" / "models" / "tiny-one")
    with pytest.raises(ModelError, match="Did you mean 'tiny-one'"):
        planned(models={"tiny": {"source": "tiny-on"}})


@pytest.mark.parametrize("content", ["", "{", '{"seed": 1}'])
def test_a_file_that_is_not_a_job_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "job.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"job\.json.*\n?.*editcore plan|editcore plan"):
        read(EditJob, path)


def test_a_missing_job_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json"):
        read(EditJob, tmp_path / "none.json")


def test_writing_unchanged_text_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    assert write_if_changed(path, "one")
    before = path.stat().st_mtime_ns
    assert not write_if_changed(path, "one")
    assert path.stat().st_mtime_ns == before
    assert write_if_changed(path, "two")
    assert path.read_text(encoding="utf-8") == "two"
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


def test_a_file_that_is_not_a_manifest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"edits": []}), encoding="utf-8")
    with pytest.raises(ConfigError, match="not a valid study manifest"):
        listed_edits(path)
