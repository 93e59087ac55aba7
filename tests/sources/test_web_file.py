"""A file of a web server is downloaded once and whole; of anything else nothing is kept."""

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from editcore.errors import DataError
from editcore.sources import web_file
from editcore.sources.web_file import WebFile
from tests.web_double import Web, served

FACTS = b'[{"prompt": "Coral is made by"}]' * 100
SHA256 = hashlib.sha256(FACTS).hexdigest()


@pytest.fixture
def web() -> Iterator[Web]:
    """A server with a file of facts."""
    with served({"sets/facts.json": FACTS}) as double:
        yield double


def kept(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("sha256", [None, SHA256])
def test_a_file_is_downloaded_once_and_what_it_is_is_said(
    web: Web, cache: Path, sha256: str | None
) -> None:
    told: list[str] = []
    wanted = WebFile(web.url("sets/facts.json"))
    assert wanted.cached() is None
    file = web_file.fetch(wanted, sha256, told.append)
    assert file.read_bytes() == FACTS
    assert file == wanted.cached()
    assert file.name == "facts.json"
    assert kept(cache) == [file]
    assert told[0] == f"download {wanted.url}: 0.0 MB, licence not stated"
    ending = " as required" if sha256 else ", which `sha256` in the study can require"
    assert told[1] == f"SHA-256 {SHA256}{ending}; kept in {file}"
    assert web_file.fetch(wanted, sha256, pytest.fail) == file
    assert web.asked == ["sets/facts.json"]


def test_files_of_one_name_at_two_addresses_are_two(web: Web) -> None:
    web.files = {"1/facts.json": b"one", "2/facts.json": b"two"}
    found = [web_file.fetch(WebFile(web.url(f"{n}/facts.json")), None, print) for n in (1, 2)]
    assert [file.read_bytes() for file in found] == [b"one", b"two"]


def test_a_cut_download_leaves_nothing(web: Web, cache: Path) -> None:
    web.cut = frozenset(web.files)
    with pytest.raises(DataError, match=r"was cut after 1,600 of 3,200 bytes, and nothing was kep"):
        web_file.fetch(WebFile(web.url("sets/facts.json")), None, print)
    assert kept(cache) == []


def test_another_hash_than_required_leaves_nothing(web: Web, cache: Path) -> None:
    with pytest.raises(DataError, match=rf"SHA-256 {SHA256}, and 0{{64}} is required; nothing"):
        web_file.fetch(WebFile(web.url("sets/facts.json")), "0" * 64, print)
    assert kept(cache) == []


def test_a_file_with_another_hash_is_replaced_by_the_one_that_is_required(web: Web) -> None:
    wanted = WebFile(web.url("sets/facts.json"))
    web.files = {"sets/facts.json": b"an older version"}
    web_file.fetch(wanted, None, print)
    web.files = {"sets/facts.json": FACTS}
    assert web_file.fetch(wanted, SHA256, print).read_bytes() == FACTS


def test_what_a_server_does_not_have_is_named(web: Web, cache: Path) -> None:
    with pytest.raises(DataError, match=r"other\.json cannot be downloaded \(.*404"):
        web_file.fetch(WebFile(web.url("other.json")), None, print)
    assert kept(cache) == []


def test_a_server_that_cannot_be_reached_is_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"http://127.0.0.1:{free.getsockname()[1]}/facts.json"
        with pytest.raises(DataError, match=r"cannot be downloaded \(Connection refused\); check"):
            web_file.fetch(WebFile(address), None, print)


def test_a_server_may_refer_only_to_a_safe_address(web: Web, cache: Path) -> None:
    web.moved = {"near": web.url("sets/facts.json"), "far": "http://example.org/facts.json"}
    assert web_file.fetch(WebFile(web.url("near")), SHA256, print).read_bytes() == FACTS
    with pytest.raises(DataError, match=r"refers to http://example\.org/.*, which is not https"):
        web_file.fetch(WebFile(web.url("far")), None, print)
    assert len(kept(cache)) == 1


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/a%20b.jsonl?raw=1", "a_b.jsonl"),
        ("https://example.org/%2e%2e%2f..%2fx.json", "x.json"),
        ("https://example.org/{model}.json", "_model_.json"),
        ("https://example.org/..", "file"),
        ("https://example.org", "file"),
    ],
)
def test_the_name_in_the_cache_is_one_that_the_workflow_can_use(
    cache: Path, url: str, name: str
) -> None:
    place = WebFile(url).place
    assert place.name == name
    assert place.parents[1] == cache / "web"
