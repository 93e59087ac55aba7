"""The section `sequences` of a study becomes sequences, or is refused with a plain error."""

from pathlib import Path
from typing import Any

import pytest

from editcore.config.alarm import shipped
from editcore.config.collapse import CollapseSection
from editcore.config.telemetry import NAMES
from editcore.errors import ConfigError
from editcore.planning import paths
from editcore.planning.jobs import SequenceJob, read
from editcore.planning.study import listed_sequences
from tests.planning.conftest import Planner
from tests.studies import write_json

SMALL = {"facts": {"path": "data/facts.json"}, "few": {"path": "data/facts.json", "limit": 3}}


def test_a_study_without_the_section_has_no_sequences(planned: Planner) -> None:
    study = planned()
    assert study.sequences == {}
    assert not any("sequences" in name for name in study.summaries)


def test_sequences_take_the_same_number_of_facts_from_each_data_set(planned: Planner) -> None:
    study = planned(datasets=SMALL, sequences={"seeds": [0, 1]})
    assert {names[2:]: len(job.case_ids) for names, job in study.sequences.items()} == {
        (dataset, seed): 3 for dataset in SMALL for seed in ("0", "1")
    }
    job = study.sequences["tiny", "plain", "facts", "0"]
    assert set(job.case_ids) < {10, 11, 12, 13}
    assert (job.prefixes, job.values) == ("results/artefacts/model=tiny/prefixes.json", ())
    assert study.sequences_inputs(*job.key)[0] == job.prefixes
    assert study.summaries[-1] == "results/summary/sequences.parquet"


def test_facts_may_be_for_sequences_alone(planned: Planner) -> None:
    sets = {"facts": SMALL["facts"] | {"single_edits": False}, "few": SMALL["few"]}
    study = planned(datasets=sets, sequences={"seeds": [0]})
    assert {key.dataset for key in study.edits} == {"few"}
    assert {key.dataset for key in study.sequences} == {"facts", "few"}
    for sections in ({}, {"sequences": {"datasets": ["few"]}}):
        with pytest.raises(ConfigError, match=r"facts\.single_edits: no sequence edits these"):
            planned(datasets=sets, **sections)
    with pytest.raises(ConfigError, match="verdicts are of single edits; add a data set"):
        planned(datasets={"facts": sets["facts"]}, sequences={"seeds": [0]})


def test_seeds_draw_the_order_and_nothing_else_does(planned: Planner) -> None:
    orders = [
        planned(sequences={"seeds": list(seeds)}).sequences["tiny", "plain", "facts", "1"].case_ids
        for seeds in ((1,), (0, 1))
    ]
    assert orders[0] == orders[1]
    many = planned(sequences={"seeds": list(range(6))}).sequences
    assert len({job.case_ids for job in many.values()}) > 1
    assert {tuple(sorted(job.case_ids)) for job in many.values()} == {(10, 11, 12, 13)}


def test_the_stop_rule_of_a_sequence_is_what_decides_in_the_study(planned: Planner) -> None:
    def rules(**sections: Any) -> list[CollapseSection | None]:
        return [job.stop_rule for job in planned(**sections).sequences.values()]

    other = {"ratio": 10.0, "perplexity": 7.0}
    assert rules(sequences={}, collapse=other) == rules(sequences={}) == [CollapseSection()]
    assert rules(sequences={}, collapse={"ratio": 8.0}) == [CollapseSection(ratio=8.0)]
    assert rules(sequences={"after_collapse": "continue"}) == [None]


def test_sequences_are_written_and_listed(planned: Planner) -> None:
    study = planned(sequences={"batch": 3, "every": 5})
    study.write()
    (names,) = study.sequences
    job = read(SequenceJob, paths.sequences_job(*names))
    assert job == study.sequences[names]
    assert (job.batch, job.every) == (1, 5), "this editor takes one fact at a time"
    assert [str(path) for path in listed_sequences(paths.STUDY_FILE)] == study.sequence_files


def test_several_batch_sizes_give_sequences_of_the_same_facts(planned: Planner) -> None:
    editors = {"plain": {"options": {"layer": 1}}, "many": {}}
    study = planned(editors=editors, sequences={"batch": [1, 3, 1]})
    by_editor = {
        editor: {
            names[3]: job.batch for names, job in study.sequences.items() if names[1] == editor
        }
        for editor in editors
    }
    assert by_editor == {"plain": {"0": 1}, "many": {"0": 1, "0-batch-3": 3}}
    assert len({job.case_ids for job in study.sequences.values()}) == 1
    study.write()
    assert all(Path(paths.sequences_job(*names)).is_file() for names in study.sequences)


def test_arrangements_and_telemetry_are_part_of_the_jobs(planned: Planner) -> None:
    section = {"arrangements": ["drawn", "dispersed"], "telemetry": "all"}
    study = planned(sequences=section)
    orders = {names[3]: job.arrangement for names, job in study.sequences.items()}
    assert orders == {"0": "drawn", "0-dispersed": "dispersed"}
    assert {job.telemetry for job in study.sequences.values()} == {NAMES}
    (plain,) = planned(sequences={}).sequences.values()
    assert (plain.arrangement, plain.telemetry, plain.alarm) == ("drawn", (), None)
    (warned,) = planned(sequences={"stop_before": "damage"}).sequences.values()
    assert (warned.stop_before, warned.alarm) == ("damage", shipped())


def test_a_sequence_runs_again_if_a_file_of_a_task_changes(planned: Planner) -> None:
    task = "resources/tasks/words.yaml"
    write_json(Path(task), {"task": "words", "dataset_kwargs": {"data_files": {"test": task}}})
    study = planned(sequences={"tasks": ["words", "piqa"], "task_checks": [3]})
    (job,) = study.sequences.values()
    assert (job.tasks, job.task_items, job.task_checks) == (("words", "piqa"), 50, (3,))
    assert task in study.sequences_inputs(*job.key)
    (plain,) = planned(sequences={}).sequences.values()
    assert (plain.tasks, plain.task_checks) == ((), ())


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"editors": ["plane"]}, ["sequences.editors", "'plane'", "Did you mean 'plain'?"]),
        ({"datasets": ["fact"]}, ["sequences.datasets", "Did you mean 'facts'?"]),
        ({"edits": 5}, ["sequences.edits", "5 facts were asked for", "has 4"]),
        ({"tasks": ["none.yaml"]}, ["sequences.tasks", "none.yaml"]),
        ({"tasks": ["piqa", "piqa"]}, ["sequences.tasks", "two tasks have the name piqa"]),
        ({"editors": ["once"]}, ["sequences.editors", "'once' cannot edit a model"]),
        ({"telemetry": ["key_drif"]}, ["sequences.telemetry", "Did you mean 'key_drift'?"]),
        ({"arrangements": ["sorted"]}, ["sequences.arrangements", "'clustered'"]),
    ],
)
def test_impossible_sequences_are_refused(
    planned: Planner, section: dict[str, Any], words: list[str]
) -> None:
    editors = {"plain": {"options": {"layer": 1}}, "once": {}}
    with pytest.raises(ConfigError) as caught:
        planned(editors=editors, sequences=section)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_editors_that_edit_once_have_no_sequences(planned: Planner) -> None:
    editors = {"plain": {"options": {"layer": 1}}, "once": {}}
    assert {names[1] for names in planned(editors=editors, sequences={}).sequences} == {"plain"}
