"""The facts of a norm anchor, and the jobs that make and read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from editcore import (
    Anchor,
    EditorConfig,
    EditorInfo,
    EditorWrapperConfig,
    EditorWrapperInfo,
    Requirement,
    ValueOptions,
    builtin,
    hookimpl,
)
from editcore.config.study import parse
from editcore.errors import ConfigError
from editcore.planning.artefacts.anchors import AnchorJob
from editcore.planning.planner import plan
from editcore.planning.study import Study
from editcore.registry.candidates import Candidate
from editcore.registry.registry import load_registry
from tests.studies import record, study_config, write_json

SEARCH = ValueOptions(layer=1)
WORDS = ("Coral", "Harbor", "Tavel", "Elro", "Osdor", "Lamp", "Sea")


class AnchoredConfig(EditorWrapperConfig):
    """Options of a wrapper that reads an anchor."""

    cases: int = 12
    facts: str | None = None
    templates: int | None = None

    def requires(self, inner: EditorConfig) -> tuple[Requirement, ...]:
        search = SEARCH.model_copy(update={"sampled_templates": self.templates})
        return (Anchor(search, self.cases, self.facts),)


class AnchoredPlugin:
    """An editor and that wrapper."""

    EDITCORE_HOOKSPEC = 2
    editcore_datasets = staticmethod(builtin.editcore_datasets)

    @hookimpl
    def editcore_editors(self) -> Iterator[EditorInfo]:
        yield EditorInfo("plain", "", "", EditorConfig, "nowhere:Plain")

    @hookimpl
    def editcore_editor_wrappers(self) -> Iterator[EditorWrapperInfo]:
        yield EditorWrapperInfo("anchored", "", "", AnchoredConfig, "nowhere:Anchored")


@pytest.fixture
def folder(study_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two more files: 15 facts, and 20 of which one has no subject and one is broken."""
    monkeypatch.setenv("EDITCORE_RESOURCES", str(study_folder / "resources"))
    facts = [record(n, WORDS[n % len(WORDS)]) for n in range(20)]
    write_json(study_folder / "data" / "many.json", facts[:15])
    facts[3] = {n: v for n, v in facts[3].items() if n != "subject"}
    facts[4] = facts[4] | {"target_new": ""}
    write_json(study_folder / "data" / "others.json", facts)
    return study_folder


def planned(datasets: dict[str, Any] | None = None, **options: Any) -> Study:
    wrapped = {"uses": "plain", "transforms": [{"uses": "anchored", "options": options}]}
    config = study_config(
        editors={"plain": {}, "wrapped": wrapped},
        datasets=datasets or {"facts": {"path": "data/many.json", "limit": 3}},
        metrics=[],
    )
    registry = load_registry([Candidate("a", "editcore-a", "1", AnchoredPlugin)])
    return plan(parse(config, "s.yaml"), "s.yaml", registry)


def cases(job: AnchorJob) -> list[int]:
    return [case for each in job.sets for case in each.case_ids]


def test_its_facts_are_those_that_the_study_does_not_edit_while_there_are_enough(
    folder: Path,
) -> None:
    (job,) = planned(cases=12).anchors.values()
    assert cases(job) == [*range(3, 15)]
    (job,) = planned(cases=10).anchors.values()
    assert len(cases(job)) == 10
    assert set(cases(job)) < set(range(3, 15))
    (job,) = planned(cases=14).anchors.values()
    assert set(cases(job)) > set(range(3, 15))
    assert len(cases(job)) == 14


def test_the_seed_draws_them(folder: Path) -> None:
    (one,), (other,) = (planned(cases=10).anchors.values() for _ in range(2))
    assert one == other


def test_a_fact_of_two_data_sets_counts_once_and_as_edited_if_one_of_them_edits_it(
    folder: Path,
) -> None:
    sets = {
        "first": {"path": "data/many.json", "limit": 3},
        "second": {"path": "data/many.json", "limit": 5},
    }
    (job,) = planned(sets, cases=10).anchors.values()
    assert cases(job) == [*range(5, 15)]


def test_a_file_of_other_facts_can_be_named(folder: Path) -> None:
    (job,) = planned(cases=100, facts="data/others.json").anchors.values()
    assert [each.dataset.path for each in job.sets] == ["data/others.json"]
    assert cases(job) == [n for n in range(20) if n not in (3, 4)]


def test_too_few_facts_are_refused(folder: Path) -> None:
    message = r"editors\.wrapped: .*at least 10 facts, and there are 4; name a file .*`facts`"
    with pytest.raises(ConfigError, match=message):
        planned({"facts": {"path": "data/facts.json"}})


def test_the_editor_in_the_wrapper_reads_the_anchor_and_no_other_does(folder: Path) -> None:
    study = planned()
    (job,) = study.anchors.values()
    by_label = {edit.editor.label: edit for edit in study.edits.values()}
    assert "anchors" not in by_label["plain"].as_json()
    (file,) = by_label["wrapped"].anchors
    assert file.need == Anchor(SEARCH, 12, None)
    assert file.key == job.key.digest
    key = next(key for key in study.edits if key.editor == "wrapped")
    assert file.path in study.edits_inputs(*key)
    assert file.path in by_label["wrapped"].artefacts
    assert study.anchors_inputs(*job.key)[:2] == [job.prefixes, "data/many.json"]


def test_other_facts_and_other_searches_are_other_anchors(folder: Path) -> None:
    studies = (
        planned(),
        planned(cases=10),
        planned(templates=0),
        planned(facts="data/others.json"),
    )
    keys = [key for study in studies for key in study.anchors]
    assert len({*keys}) == len(keys) == 4
