"""Whatever a data set or config contains, it is read, or refused with one plain error."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from editcore.config.collapse import CollapseSection
from editcore.config.study import (
    DatasetSection,
    EditorSection,
    ModelSection,
    TransformSection,
    load,
    parse,
)
from editcore.config.texts import MomentSection, PerplexitySection, PrefixSection
from editcore.datasets.readers import read_requests, read_texts
from editcore.errors import EditcoreError
from editcore.planning.jobs import EditJob
from editcore.planning.planner import plan
from editcore.records.schemas import EDITS
from editcore.records.tables import write_table
from tests.data_sets import RECORDS
from tests.fuzzing.hunt import hunt, small_study
from tests.studies import model_files, plain_registry, study_config, write_data

# The same examples each time, so that a failure is due to the change being tested.
MANY = settings(
    max_examples=1000,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)

FEW = settings(MANY, max_examples=300)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=12)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
WORDS = st.sampled_from(["Coral", "{} is", "Coral is", "", " ", "{}{}", "Osdor", "\ud800", "\x00"])


def records(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Records of a format, with some fields missing or arbitrary."""
    return st.fixed_dictionaries({}, optional={k: v | ANYTHING for k, v in fields.items()})


NUMBERS = st.integers(-3, 30)
TEXTS = st.lists(WORDS, max_size=3)
NAMED = records({"str": WORDS, "id": WORDS})
FORMATS = {
    "flat": records(
        {
            "case_id": NUMBERS,
            "prompt": WORDS,
            "subject": WORDS,
            "target_new": WORDS,
            "ground_truth": WORDS,
            "rephrase_prompt": WORDS | TEXTS,
            "locality_prompt": WORDS | TEXTS,
            "locality_ground_truth": WORDS | TEXTS,
        }
    ),
    "counterfact": records(
        {
            "case_id": NUMBERS,
            "requested_rewrite": records(
                {"prompt": WORDS, "subject": WORDS, "target_new": NAMED, "target_true": NAMED}
            ),
            "paraphrase_prompts": TEXTS,
            "neighborhood_prompts": TEXTS,
        }
    ),
    "zsre": records(
        {
            "case_id": NUMBERS,
            "src": WORDS,
            "subject": WORDS,
            "alt": WORDS,
            "answers": TEXTS,
            "rephrase": WORDS | TEXTS,
            "loc": WORDS,
            "loc_ans": WORDS,
        }
    ),
    **{
        name: records({field: st.just(sound) | WORDS | TEXTS for field, sound in record.items()})
        for name, record in RECORDS.items()
    },
}
ANY_RECORD = st.one_of(ANYTHING, *FORMATS.values())


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@MANY
@given(
    items=st.lists(ANY_RECORD, max_size=4) | ANYTHING,
    format=st.sampled_from(["auto", *FORMATS]),
    lines=st.booleans(),
)
def test_any_records_are_read_or_refused(
    folder: Path, items: Any, format: Any, lines: bool
) -> None:
    path = folder / ("cases.jsonl" if lines else "cases.json")
    as_lines = lines and isinstance(items, list)
    path.write_text("\n".join(map(json.dumps, items)) if as_lines else json.dumps(items))
    try:
        requests = read_requests(path, format)
    except EditcoreError as error:
        assert str(path) in str(error)
        return
    assert len({request.case_id for request in requests}) == len(requests)
    rows = [
        {
            "model": "m", "editor": "e", "dataset": "d", "case_id": r.case_id,
            "status": r.flaw or "ok", "subject": r.subject, "prompt": r.prompt,
            "target_new": r.target_new, "target_true": r.target_true, "relation": r.relation,
            "subject_start": r.subject_start,
        }
        for r in requests
    ]  # fmt: skip
    write_table(folder / "rows.parquet", rows, EDITS, {})


@FEW
@given(
    content=st.binary(max_size=40) | st.text(max_size=40).map(str.encode), name=st.integers(0, 3)
)
def test_any_bytes_are_read_or_refused(folder: Path, content: bytes, name: int) -> None:
    path = folder / ("any.json", "any.jsonl", "any.txt", "any.csv")[name]
    path.write_bytes(content)
    for read in (read_requests, read_texts):
        try:
            read(path)
        except EditcoreError as error:
            assert str(path) in str(error)


def test_what_is_nested_too_deeply_is_refused(folder: Path) -> None:
    path = folder / "deep.json"
    path.write_text("[" * 100_000)
    with pytest.raises(EditcoreError, match=r"deep\.json"):
        read_requests(path)


SECTIONS = (*study_config(), "seed", "collapse", "nonsense")
KNOWN = sorted(
    {"layer"}.union(
        *(
            kind.model_fields
            for kind in (ModelSection, EditorSection, DatasetSection, TransformSection)
        ),
        *(
            kind.model_fields
            for kind in (PerplexitySection, PrefixSection, MomentSection, CollapseSection)
        ),
    )
)
NESTED = st.recursive(
    ANYTHING | st.sampled_from(["model", "data/facts.json", "plain", "cpu", "tiny", 1, 2]),
    lambda inner: st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def study(folder: Path) -> Iterator[Path]:
    model_files(folder / "model")
    write_data(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("EDITCORE_RESOURCES", str(folder / "resources"))
        yield folder


REGISTRY = plain_registry()


@MANY
@given(
    changes=st.dictionaries(
        st.sampled_from(SECTIONS), NESTED | st.dictionaries(st.just("plain"), NESTED), max_size=2
    )
)
def test_any_config_is_planned_or_refused(study: Path, changes: dict[str, Any]) -> None:
    try:
        jobs = plan(parse(study_config(**changes), "study.yaml"), "study.yaml", REGISTRY)
    except EditcoreError as error:
        assert str(error).startswith("study.yaml: ")
        return
    for job in jobs.edits.values():
        assert EditJob.model_validate_json(job.as_json()) == job


# Together with those above, more than 3,000; CI has two minutes for this file.
COMMANDS = {
    "config": 400,
    "records": 400,
    "jobs": 400,
    "artefacts": 300,
    "models": 200,
    "arguments": 400,
    "report": 5,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with small_study(tmp_path_factory.mktemp("study")):
        yield


@pytest.mark.parametrize("kind", COMMANDS)
def test_every_command_carries_out_any_input_or_refuses_it_in_words(
    finished: None, kind: str
) -> None:
    ends = hunt(kind, COMMANDS[kind])
    assert ends.total() >= COMMANDS[kind] * 0.9
    # Inputs that are all refused, or all carried out, would test little.
    assert {how for _, how in ends} == {"carried out", "refused"}


@FEW
@given(content=st.binary(max_size=60) | NESTED.map(lambda x: yaml.safe_dump(x).encode()))
def test_any_config_file_is_read_or_refused(study: Path, content: bytes) -> None:
    path = study / "any.yaml"
    path.write_bytes(content)
    try:
        load(path)
    except EditcoreError as error:
        assert "any.yaml" in str(error)
