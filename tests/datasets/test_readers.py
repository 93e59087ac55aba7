"""Every format is read, and every kind of broken record is named with its place and a remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from editcore.datasets.data_file import DataFile
from editcore.datasets.formats.fields import with_slot
from editcore.datasets.readers import read_dataset, read_requests, read_texts
from editcore.errors import DataError, PluginError
from editcore.registry.candidates import Candidate, installed
from editcore.registry.hookspecs import HOOKSPEC_VERSION, DatasetFormatInfo, hookimpl
from editcore.registry.registry import Registry, load_registry
from editcore.requests import EditRequest, Probe

Write = Callable[[str, Any], Path]

PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "counterfact"

ORIGINAL = {
    "case_id": 7,
    "requested_rewrite": {
        "prompt": "The language of {} is",
        "relation_id": "P103",
        "target_new": {"str": "Drell", "id": "Q1"},
        "target_true": {"str": "Osk", "id": "Q2"},
        "subject": "Ada Moor",
    },
    "paraphrase_prompts": ["Ada Moor speaks", "At home Ada Moor uses"],
    "neighborhood_prompts": ["Ben Fold speaks", "The language of Cy Hart is"],
}
FLAT = {
    "case_id": 9,
    "prompt": "The language of Ada Moor is",
    "subject": "Ada Moor",
    "target_new": "Drell",
    "ground_truth": "Osk",
    "rephrase_prompt": "Ada Moor speaks",
    "locality_prompt": "Ben Fold speaks",
    "locality_ground_truth": "Osk",
}
ZSRE = {
    "subject": "Ada Moor",
    "src": "Which language does Ada Moor speak?",
    "pred": "Osk",
    "rephrase": "What is spoken by Ada Moor?",
    "alt": "Drell",
    "answers": ["Osk", "Oskish"],
    "loc": "nq question: who built the bridge",
    "loc_ans": "Cy Hart",
    "cond": "Osk >> Drell || Which language does Ada Moor speak?",
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to_file


def test_counterfact_record_reads_with_all_its_probes(write: Write) -> None:
    (request,) = read_requests(write("cases.json", [ORIGINAL]))
    assert (request.case_id, request.prompt, request.subject) == (
        7,
        "The language of {} is",
        "Ada Moor",
    )
    assert (request.target_new, request.target_true, request.relation) == ("Drell", "Osk", "P103")
    assert request.paraphrases == ("Ada Moor speaks", "At home Ada Moor uses")
    assert request.neighbours[1] == Probe("The language of Cy Hart is", "Osk")


def test_flat_record_gets_its_slot_back(write: Write) -> None:
    (request,) = read_requests(write("cases.json", [FLAT]))
    assert request.prompt == "The language of {} is"
    assert request.text == FLAT["prompt"]
    assert request.paraphrases == ("Ada Moor speaks",)
    assert request.neighbours == (Probe("Ben Fold speaks", "Osk"),)


def test_flat_record_without_probes_and_case_id_reads(write: Write) -> None:
    bare = {k: FLAT[k] for k in ("prompt", "subject", "target_new", "ground_truth")}
    first, second = read_requests(write("cases.json", [bare, bare]))
    assert (first.case_id, second.case_id) == (0, 1)
    assert first.paraphrases == () and first.neighbours == ()


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published data are not at hand")
def test_every_published_flat_record_reads_and_restores_its_prompt() -> None:
    count = 0
    for path in sorted(PUBLISHED.glob("*.json")):
        records = json.loads(path.read_text(encoding="utf-8"))
        requests = read_requests(path)
        assert [r.text for r in requests] == [record["prompt"] for record in records]
        count += len(requests)
    assert count == 11_919


def test_zsre_edits_towards_alt_and_skips_records_without_one(write: Write) -> None:
    path = write("zsre.json", [ZSRE | {"alt": ""}, ZSRE])
    (request,) = read_requests(path)
    assert request.case_id == 1
    assert request.prompt == "Which language does {} speak?"
    assert (request.target_new, request.target_true) == ("Drell", "Osk")
    assert request.neighbours == (Probe("nq question: who built the bridge", "Cy Hart"),)


def test_json_lines_read_like_a_list(write: Write) -> None:
    lines = "\n".join(json.dumps(FLAT | {"case_id": i}) for i in range(3)) + "\n"
    assert [r.case_id for r in read_requests(write("cases.jsonl", lines))] == [0, 1, 2]


def test_whole_word_is_preferred_to_a_part_of_one() -> None:
    assert with_slot("Qatar and Q are", "Q") == "Qatar and {} are"
    assert with_slot("Qatar wins", "Qa") == "{}tar wins"


@pytest.mark.parametrize(
    ("changes", "flaw"),
    [
        ({"prompt": "It is"}, "needs one '{}' where the subject 'Ada Moor' belongs"),
        ({"prompt": "Ada Moor says that Ada Moor is"}, "needs one '{}'"),
        ({"subject": " "}, "subject is empty"),
        ({"target_new": " "}, "target_new is empty"),
    ],
)
def test_a_flawed_record_is_read_with_its_flaw_and_the_others_are_sound(
    write: Write, changes: dict[str, str], flaw: str
) -> None:
    good, bad = read_requests(write("cases.json", [FLAT, FLAT | {"case_id": 12} | changes]))
    assert good.flaw == "" and good.subject_start == len("The language of ")
    assert flaw in bad.flaw and bad.subject_start is None


@pytest.mark.parametrize("record", [FLAT, ZSRE])
def test_a_record_without_the_field_of_its_subject_is_a_fact_that_names_none(
    write: Write, record: dict[str, Any]
) -> None:
    bare = {key: value for key, value in record.items() if key != "subject"}
    format = "flat" if record is FLAT else "zsre"
    for given in (bare, bare | {"subject": None}):
        (request,) = read_requests(write("cases.json", [given]), format)
        assert (request.subject, request.flaw, request.names_subject) == ("", "", False)
        assert request.text == record["prompt" if record is FLAT else "src"]
        assert request.subject_start is None


@pytest.mark.parametrize(
    ("content", "needles"),
    [
        ([{k: v for k, v in FLAT.items() if k != "ground_truth"}], ["record 0", "'ground_truth'"]),
        (
            [{"prompt": "It is by", "subject": "It", "target_new": "Osk", "target_true": "Elro"}],
            ["record 0: the field 'ground_truth' is missing: flat", "not in 'target_true'"],
        ),
        ([FLAT | {"target_new": 3}], ["record 0", "case_id 9", "target_new is int"]),
        ([FLAT | {"locality_ground_truth": None}], ["record 0", "1 locality_prompt but 0"]),
        ([{"question": "?"}], ["question", "requested_rewrite"]),
        ([ORIGINAL | {"requested_rewrite": {"prompt": "x"}}], ["record 0", "'target_true'"]),
        ([], ["no records"]),
        ([1], ["record 0", "int"]),
        ({"a": 1}, ["list", "dict"]),
        ("[{,]", ["line 1", "not valid JSON"]),
    ],
)
def test_bad_records_are_named(write: Write, content: Any, needles: list[str]) -> None:
    path = write("cases.json", content)
    with pytest.raises(DataError) as caught:
        read_requests(path)
    for needle in [str(path), *needles]:
        assert needle in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.json: no such file"):
        read_requests(tmp_path / "absent.json")


def test_unknown_format_is_refused(write: Write) -> None:
    path = write("cases.json", [FLAT])
    with pytest.raises(PluginError, match="unknown data-set format 'csv'"):
        read_requests(path, "csv")
    with pytest.raises(PluginError, match=r"'counterfct'\. Did you mean 'counterfact'"):
        read_requests(path, "counterfct")


class Formats:
    """A third party's formats: one that extends a built-in one, and two that overlap."""

    EDITCORE_HOOKSPEC = HOOKSPEC_VERSION

    @hookimpl
    def editcore_datasets(self) -> list[DatasetFormatInfo]:
        here = f"{__name__}:parsed"
        return [
            DatasetFormatInfo("wider", "", "", here, ("requested_rewrite", "questions")),
            DatasetFormatInfo("left", "", "", here, ("a", "b")),
            DatasetFormatInfo("right", "", "", here, ("b", "c")),
            DatasetFormatInfo("unasked", "", "", here),
        ]


GIVEN: dict[str, Any] = {}


def parsed(record: Any, index: int) -> Any:
    """What a third party's parser does in a test."""
    return GIVEN["parser"](record, index)


@pytest.fixture
def registry() -> Registry:
    """The built-in formats and those above."""
    return load_registry([installed()[0], Candidate("formats", "editcore-formats", "1", Formats)])


def request_of(record: Any, index: int) -> EditRequest:
    return EditRequest(index, "{} is", "Coral", "red", "blue")


@pytest.mark.parametrize(
    ("record", "format"),
    [
        (ORIGINAL, "counterfact"),
        (FLAT, "flat"),
        (ZSRE, "zsre"),
        (ORIGINAL | {"questions": []}, "wider"),
        ({"a": 1, "b": 2}, "left"),
    ],
)
def test_a_format_is_recognised_by_its_fields(
    write: Write, registry: Registry, record: Any, format: str
) -> None:
    GIVEN["parser"] = request_of
    path = write("cases.json", [{"nothing": "known"}, record])
    assert read_dataset(DataFile(str(path)), registry)[0] == format


def test_a_record_that_fits_two_formats_needs_the_name_of_one(
    write: Write, registry: Registry
) -> None:
    GIVEN["parser"] = request_of
    path = write("cases.json", [{"a": 1, "b": 2, "c": 3}])
    with pytest.raises(DataError, match=r"cases\.json: .* fit the formats left and right; name"):
        read_requests(path, "auto", registry)
    assert len(read_requests(path, "right", registry)) == 1
    assert len(read_requests(path, "unasked", registry)) == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda record, index: record, "the format returned dict, not an EditRequest"),
        (lambda record, index: EditRequest("7b", "", "", "", ""), "invalid literal"),
        (lambda record, index: EditRequest(1, "{}", "x", 3, ""), "3 is not text"),
        (lambda record, index: 1 / 0, "ZeroDivisionError"),
        (lambda record, index: record["d"], "the field 'd' is missing"),
    ],
)
def test_whatever_a_third_party_s_parser_does_affects_its_record_alone(
    write: Write, registry: Registry, given: Any, reason: str
) -> None:
    GIVEN["parser"] = lambda record, i: given(record, i) if i == 1 else request_of(record, i)
    path = write("cases.json", [{"a": 1, "b": n} for n in range(3)])
    first, second, third = read_requests(path, "auto", registry)
    assert (first.flaw, third.flaw) == ("", "")
    assert reason in second.flaw
    assert second.flaw.startswith("record 1")


@pytest.mark.parametrize(
    ("broken", "flaw", "case_id"),
    [
        (FLAT, "record 1: case_id 9 was already used", -2),
        (FLAT | {"case_id": 12, "subject": 3}, "record 1 (case_id 12): a field has the wrong", 12),
        (FLAT | {"case_id": 12, "subject": "\ud800"}, "unpaired surrogate", 12),
        ({"case_id": 12}, "record 1 (case_id 12): the field 'prompt' is missing", 12),
        (FLAT | {"case_id": 1.5}, "case_id is float, not a whole number", -2),
        (FLAT | {"case_id": 10**30}, "case_id has 31 digits", -2),
        (None, "record 1: an object with the fields of one fact is needed", -2),
    ],
)
def test_a_broken_record_gives_the_reason_and_the_others_are_read(
    write: Write, broken: Any, flaw: str, case_id: int
) -> None:
    good, bad, other = read_requests(write("c.json", [FLAT, broken, FLAT | {"case_id": 10}]))
    assert (good.flaw, other.flaw) == ("", "")
    assert flaw in bad.flaw
    assert (good.case_id, bad.case_id, other.case_id) == (9, case_id, 10)


def test_a_broken_first_record_does_not_hide_the_format(write: Write) -> None:
    broken, good = read_requests(write("cases.json", [{"case_id": 3}, ORIGINAL]))
    assert "'requested_rewrite' is missing" in broken.flaw
    assert good.subject == "Ada Moor"


def test_broken_json_line_is_numbered(write: Write) -> None:
    good, bad = read_requests(write("cases.jsonl", json.dumps(FLAT) + "\n\n{oops\n"))
    assert good.flaw == ""
    assert "line 3: not valid JSON" in bad.flaw


def test_a_broken_line_of_texts_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="line 2: not valid JSON"):
        read_texts(write("texts.jsonl", '"one text"\n{oops\n'))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("texts.json", [" one", "two "]),
        ("texts.json", [{"Corpus": "C4", "Text": " one"}, {"Corpus": "C4", "Text": "two "}]),
        ("texts.jsonl", '{"text": " one"}\n\n"two "\n'),
        ("texts.txt", " one\n\ntwo \n"),
    ],
)
def test_texts_read_unchanged_from_every_format(write: Write, name: str, content: Any) -> None:
    path = write(name, content)
    assert read_texts(path) == [" one", "two "]
    assert read_texts(path, 1) == [" one"]


def test_fewer_texts_than_asked_for_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="3 texts were asked for, but it has 2; ask for at most 2"):
        read_texts(write("texts.json", ["a", "b"]), 3)


@pytest.mark.parametrize("content", [["a", ""], ["a", {"Corpus": "C4"}], ["a", 3]])
def test_a_value_that_is_not_text_is_named(write: Write, content: Any) -> None:
    with pytest.raises(DataError, match="record 1: no text"):
        read_texts(write("texts.json", content))


def test_file_without_texts_is_an_error(write: Write) -> None:
    with pytest.raises(DataError, match="contains no texts"):
        read_texts(write("texts.txt", "\n"))
