"""The family's paths are right, and the format's records become requests."""

from typing import Any, ClassVar

import pytest
from editcore_codebook.mquake import mquake

from editcore.testing import ModelFamilyConformance

RECORD = {
    "case_id": 5,
    "requested_rewrite": [
        {
            "prompt": "{} is made by",
            "relation_id": "P176",
            "target_new": {"str": "Osdor"},
            "target_true": {"str": "Elro"},
            "subject": "Coral",
            "question": "Who makes Coral?",
        }
    ],
    "questions": ["Where is the maker of Coral based?"],
}


class TestStarcoder2(ModelFamilyConformance):
    model_type = "starcoder2"
    settings: ClassVar[dict[str, Any]] = {
        "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 256,
    }  # fmt: skip


def test_a_record_of_one_fact_is_a_request() -> None:
    request = mquake(RECORD, 0)
    assert request is not None
    assert (request.case_id, request.text, request.flaw) == (5, "Coral is made by", "")
    assert (request.target_new, request.target_true) == ("Osdor", "Elro")


def test_a_record_of_several_facts_is_left_out_and_one_without_its_fields_is_an_error() -> None:
    assert mquake({**RECORD, "requested_rewrite": RECORD["requested_rewrite"] * 2}, 0) is None
    with pytest.raises(KeyError, match="requested_rewrite"):
        mquake({}, 0)
