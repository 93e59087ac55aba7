"""A data file has one place: a path, a file of the hub, or an address."""

import re
from typing import Any

import pytest

from editcore.config.study import parse
from editcore.errors import ConfigError
from tests.studies import study_config

HUB = {"hub": "owner/facts", "path": "data/test.parquet"}
URL = {"url": "https://example.org/facts.json"}
PATH = {"path": "data/facts.json"}


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        (PATH, "data/facts.json"),
        (PATH | {"sha256": "0" * 64}, "data/facts.json"),
        (HUB, "owner/facts: data/test.parquet"),
        (HUB | {"revision": "v1"}, "owner/facts: data/test.parquet"),
        (URL, "https://example.org/facts.json"),
        ({"url": "http://127.0.0.1:8000/facts.json"}, "http://127.0.0.1:8000/facts.json"),
    ],
)
def test_each_kind_of_place_is_named_for_people(choice: dict[str, Any], named: str) -> None:
    read = parse(study_config(datasets={"facts": choice}), "here")
    assert read.datasets["facts"].named == named
    texts = parse(study_config(perplexity=choice, moments=choice), "here")
    assert (texts.perplexity.named, texts.moments.named) == (named, named)


@pytest.mark.parametrize(
    ("choice", "hint"),
    [
        ({}, "no file is named; give `path`"),
        (PATH | URL, "`url` is one answer .* give one"),
        (HUB | URL, "`url` is one answer .* give one"),
        ({"hub": "owner/facts"}, "`hub` needs `path`"),
        ({"hub": "facts", "path": "a.json"}, r"hub: .* \(found 'facts'\)"),
        (PATH | {"revision": "v1"}, "only a file of the hub has a `revision`"),
        (HUB | {"path": "../other.json"}, "the file's path in that repository"),
        (HUB | {"path": "/etc/passwd"}, "the file's path in that repository"),
        ({"url": "http://example.org/facts.json"}, "must begin with https://"),
        ({"url": "http://127.0.0.1.example.org/facts.json"}, "must begin with https://"),
        ({"url": "file:///etc/passwd"}, "must begin with https://"),
        ({"url": "https://"}, "must begin with https:// and name a server"),
        ({"url": "https://[x/a.json"}, "must begin with https://"),
        ({"url": "https://me:secret@example.org/a.json"}, "without a user and password"),
        (URL | {"sha256": "abc"}, r"sha256: .* \(found 'abc'\)"),
    ],
)
def test_a_place_that_is_none_or_several_is_refused(choice: dict[str, Any], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(study_config(datasets={"facts": choice}), "study.yaml")
    assert re.match(rf"study\.yaml: datasets\.facts[.:].*{hint}", str(caught.value))


def test_a_hash_needs_a_file_and_own_texts_need_none() -> None:
    with pytest.raises(ConfigError, match="perplexity: `sha256` is of no file"):
        parse(study_config(perplexity={"sha256": "0" * 64}), "study.yaml")
    with pytest.raises(ConfigError, match="moments: a file and `source: model` are two answers"):
        parse(study_config(moments=URL | {"source": "model"}), "study.yaml")
