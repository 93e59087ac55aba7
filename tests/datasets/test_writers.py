"""A format's reader restores what its writer wrote."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from editcore.datasets.readers import read_requests
from editcore.datasets.writers import counterfact_record, flat_record
from editcore.registry.registry import Registry, load_registry
from editcore.requests import EditRequest, Probe

# JSON and tokenizers cannot represent unpaired surrogates.
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
stripped = texts.map(str.strip)
probes = st.builds(Probe, texts, stripped)
named_probes = st.builds(Probe, texts, stripped, st.lists(texts, max_size=2).map(tuple), texts)
requests = st.lists(
    st.builds(
        EditRequest,
        case_id=st.integers(-(2**63), 2**63 - 1),
        prompt=st.tuples(texts, texts).map("{}".join),
        subject=texts,
        target_new=stripped,
        target_true=stripped,
        relation=texts,
        paraphrases=st.lists(texts, max_size=3).map(tuple),
        neighbours=st.lists(probes, max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda request: request.case_id,
)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


once = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None
)


@pytest.mark.parametrize("record", [flat_record, counterfact_record])
@once
@given(given=requests)
def test_records_come_back_as_they_were(
    record, registry: Registry, tmp_path: Path, given: list[EditRequest]
) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps([record(request) for request in given]))
    assert read_requests(path, record.__name__.removesuffix("_record"), registry) == given


@once
@given(
    given=requests,
    neighbours=st.lists(named_probes, max_size=2).map(tuple),
    consequences=st.lists(named_probes, max_size=2).map(tuple),
    aliases=st.lists(texts, max_size=2).map(tuple),
    question=texts,
)
def test_a_flat_record_loses_nothing(
    registry: Registry,
    tmp_path: Path,
    given: list[EditRequest],
    question: str,
    **more: tuple[Any, ...],
) -> None:
    further = tuple(replace(each, case_id=given[0].case_id) for each in given[1:])
    request = replace(given[0], further=further, question=question, **more)
    path = tmp_path / "records.json"
    path.write_text(json.dumps([flat_record(request)]))
    assert read_requests(path, "flat", registry) == [request]


def test_only_neighbours_with_another_object_need_a_field_that_published_records_lack() -> None:
    near = (Probe("Paris is in", "France"),)
    shared = EditRequest(3, "{} is in", "Lyon", "Spain", "France", neighbours=near)
    own = replace(shared, neighbours=(*near, Probe("Rome is in", "Italy")))
    assert "neighborhood_objects" not in counterfact_record(shared)
    assert counterfact_record(own)["neighborhood_objects"] == ["France", "Italy"]


@pytest.mark.parametrize("record", [flat_record, counterfact_record])
def test_the_reader_recognises_the_format_by_the_record(record, tmp_path: Path) -> None:
    request = EditRequest(3, "{} is made by", "Coral", "Osdor", "Elro", "maker", ("By whom?",))
    path = tmp_path / "records.json"
    path.write_text(json.dumps([record(request)]))
    assert read_requests(path) == [request]
