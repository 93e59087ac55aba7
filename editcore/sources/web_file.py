"""A data file on a web server: downloaded once, whole, and kept in editcore's cache."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib import request
from urllib.parse import unquote, urlsplit

from editcore.atomic import replacing
from editcore.config.published import is_safe
from editcore.errors import DataError, reason
from editcore.sources.cache import default_cache, sha256_of

CHUNK = 2**20
SECONDS = 30.0
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
LONGEST_NAME = 100


@dataclass(frozen=True)
class WebFile:
    """The file at an address."""

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def place(self) -> Path:
        """Where the file is in the cache once it is fetched, under the name that it has there."""
        name = NOT_IN_NAMES.sub("_", unquote(urlsplit(self.url).path).rpartition("/")[2])
        digest = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        return default_cache() / "web" / digest / (name.lstrip(".")[-LONGEST_NAME:] or "file")

    def cached(self) -> Path | None:
        """The file in the cache; None if it is not there."""
        return self.place if self.place.is_file() else None


def fetch(wanted: WebFile, sha256: str | None, say: Callable[[str], None]) -> Path:
    """The file in the cache, downloaded unless it is there with the SHA-256 required.

    `say` is called with the address, the size and the SHA-256. Raises `DataError` if the server
    does not give the file, or gives a part of it or another one; nothing is kept of those.
    """
    there = wanted.cached()
    if there is not None and sha256 in (None, sha256_of(there)):
        return there
    with replacing(wanted.place) as partial:
        with _opened(wanted.url) as answer:
            size = answer.length
            told = "of unknown size" if size is None else f"{size / 1e6:.1f} MB"
            say(f"download {wanted}: {told}, licence not stated")
            found, received = _copied(answer, partial, wanted.url)
        if size is not None and received != size:
            raise DataError(
                f"{wanted}: the download was cut after {received:,} of {size:,} bytes, and nothing "
                "was kept; fetch it again"
            )
        if sha256 is not None and found != sha256:
            raise DataError(
                f"{wanted}: the file has the SHA-256 {found}, and {sha256} is required; nothing "
                "was kept. Correct `sha256`, or do not use this file"
            )
    hint = " as required" if sha256 else ", which `sha256` in the study can require"
    say(f"SHA-256 {found}{hint}; kept in {wanted.place}")
    return wanted.place


class _SafeRedirects(request.HTTPRedirectHandler):
    """Follows a server to other addresses only if data may be fetched from them."""

    def redirect_request(
        self,
        req: request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> request.Request | None:
        """The request for the new address; raises `DataError` if it is not a safe one."""
        if not is_safe(newurl):
            raise DataError(
                f"{req.full_url}: the server refers to {newurl}, which is not https; download the "
                "file yourself and give its `path`"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(url: str) -> Any:
    """The answer of a server, with its `length` in bytes or None."""
    headers: Mapping[str, str] = {"User-Agent": "editcore", "Accept-Encoding": "identity"}
    try:
        asked = request.Request(url, headers=dict(headers))
        return request.build_opener(_SafeRedirects).open(asked, timeout=SECONDS)
    except (OSError, HTTPException, ValueError) as error:
        raise _failed(url, error) from error


def _copied(answer: Any, target: Path, url: str) -> tuple[str, int]:
    """Copy what a server sends; its SHA-256, and the number of bytes."""
    digest, received = hashlib.sha256(), 0
    with target.open("wb") as out:
        while chunk := _read(answer, url):
            out.write(chunk)
            digest.update(chunk)
            received += len(chunk)
    return digest.hexdigest(), received


def _read(answer: Any, url: str) -> bytes:
    try:
        content: bytes = answer.read(CHUNK)
    except (OSError, HTTPException, ValueError) as error:
        raise _failed(url, error) from error
    return content


def _failed(url: str, error: Exception) -> DataError:
    # The reason of a connection's error is an error itself.
    cause = getattr(error, "reason", None)
    why = reason(cause) if isinstance(cause, Exception) else str(error) or type(error).__name__
    return DataError(
        f"{url} cannot be downloaded ({why}); check address and network, or fetch it on a machine "
        "that reaches the server"
    )
