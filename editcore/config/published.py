"""A data file of a study: on this machine, in a data set of the hub, or on a web server."""

from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from editcore.config.section import Section

SHA256_PATTERN = r"^[0-9a-fA-F]{64}$"
REPOSITORY_PATTERN = r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$"
# Without a certificate, only this machine can be who it claims to be.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class PublishedFile(Section):
    """Where a data file comes from: `path` alone, `hub` with `path`, or `url`."""

    path: str | None = Field(
        default=None,
        min_length=1,
        description="The data file, relative to the working directory; with `hub`, the file's path "
        "in that repository.",
    )
    hub: str | None = Field(
        default=None,
        pattern=REPOSITORY_PATTERN,
        description="A data set of the hub, owner/name; `path` is the file in it.",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        description="Branch, tag or commit of `hub`; by default the latest.",
    )
    url: str | None = Field(
        default=None,
        min_length=1,
        description="The https:// address of a file on a web server, instead of `path`.",
    )
    sha256: str | None = Field(
        default=None,
        pattern=SHA256_PATTERN,
        description="SHA-256 that the file must have; by default any.",
    )

    @property
    def named(self) -> str | None:
        """The file as texts for people name it; None if the study names none.

        >>> PublishedFile(hub="owner/facts", path="test.parquet").named
        'owner/facts: test.parquet'
        """
        return self.url or (f"{self.hub}: {self.path}" if self.hub else self.path)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.url is not None and (self.path is not None or self.hub is not None):
            raise ValueError(
                "`url` is one answer to where the file is, and `path` or `hub` another; give one"
            )
        if self.hub is not None and self.path is None:
            raise ValueError("`hub` needs `path`, the file's path in that repository; add it")
        if self.hub is None and self.revision is not None:
            raise ValueError("only a file of the hub has a `revision`; add `hub`, or remove it")
        if self.sha256 is not None and self.named is None:
            raise ValueError("`sha256` is of no file; name one with `path`, `hub` or `url`")
        return self

    @model_validator(mode="after")
    def _can_be_fetched(self) -> Self:
        if self.url is not None and not is_safe(self.url):
            raise ValueError(
                "`url` must begin with https:// and name a server, without a user and password; "
                "correct it, or download the file yourself and give its `path`"
            )
        if self.hub is not None and self.path is not None and not _is_inside(self.path):
            raise ValueError(
                "with `hub`, `path` is the file's path in that repository, such as data/test.json; "
                "correct it"
            )
        return self


def is_safe(url: str) -> bool:
    """Whether data may be fetched from an address: by https, or from this machine.

    >>> is_safe("https://example.org/facts.json"), is_safe("http://example.org/facts.json")
    (True, False)
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    if not (plain and host) or parts.username is not None:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


def _is_inside(path: str) -> bool:
    """Whether a path names a file of a repository, with no step out of it."""
    return "\\" not in path and all(part not in ("", ".", "..") for part in path.split("/"))
