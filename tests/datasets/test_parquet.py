"""Records and texts in Parquet are read as those in JSON are."""

import json
from pathlib import Path

import polars as pl
import pytest

from editcore.datasets.readers import read_requests, read_texts
from editcore.errors import DataError
from tests.studies import SUBJECTS, TEXTS, record


def test_records_give_the_same_requests_as_in_json_whatever_fields_some_lack(
    tmp_path: Path,
) -> None:
    nested = {
        "requested_rewrite": {
            "prompt": "{} is made by",
            "subject": "Coral",
            "target_new": {"str": "Osdor"},
            "target_true": {"str": "Elro"},
            "relation_id": "P1",
        },
        "paraphrase_prompts": ["The maker of Coral is"],
        "neighborhood_prompts": ["The sea is", "Tavel is"],
    }
    bare = {"requested_rewrite": {**nested["requested_rewrite"], "subject": "Tavel"}}  # type: ignore[dict-item]
    bare["requested_rewrite"].pop("relation_id")
    flat = [record(10 + number, subject) for number, subject in enumerate(SUBJECTS)]
    for name, records in {"flat": flat, "counterfact": [nested, bare, nested]}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(records))
        pl.DataFrame(records).write_parquet(tmp_path / f"{name}.parquet")
        found = read_requests(tmp_path / f"{name}.parquet")
        assert found == read_requests(tmp_path / f"{name}.json")
        assert not any(request.flaw for request in found)


def test_texts_are_read_from_the_column_of_that_name(tmp_path: Path) -> None:
    # Such a folder is one of a table in parts, whose name is a column's value.
    file = tmp_path / "text=other" / "texts.parquet"
    file.parent.mkdir()
    pl.DataFrame({"id": range(4), "text": TEXTS}).write_parquet(file)
    assert read_texts(file) == TEXTS


def test_what_is_not_parquet_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "facts.parquet"
    with pytest.raises(DataError, match=r"there is no file .*facts\.parquet"):
        read_requests(file)
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"facts\.parquet contains no records as Parquet \("):
        read_requests(file)
