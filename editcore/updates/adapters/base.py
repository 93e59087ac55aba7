"""The weights that an adapter is for, noted next to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore.atomic import write_text
from editcore.errors import ModelError, reading
from editcore.records.provenance import versions
from editcore.updates.saved.stored_weights import stored_weights
from editcore.updates.saved.weight_digests import digest_of_all, digests

FILE = "editcore.json"
REMEDY = "give the folder that `editcore export` wrote"
SHORT = 12


@dataclass(frozen=True)
class Base:
    """An unedited model: the name it was given by, its folder, and the SHA-256 of its weights."""

    name: str
    folder: Path
    sha256: str

    @classmethod
    def of(cls, name: str, folder: Path) -> "Base":
        """The model in a folder; raises `ModelError` if it has no weights that can be read."""
        return cls(name, folder, digest_of_all(digests(stored_weights(folder))))

    def as_dict(self) -> dict[str, str]:
        """What an adapter's file contains of it; the folder may differ on another machine."""
        return {"name": self.name, "weights_sha256": self.sha256}


def note(folder: Path, base: Base, about: Mapping[str, Any]) -> None:
    """Write `editcore.json` next to what was exported, with the base's hash in it."""
    content = {"base": base.as_dict(), **about, "versions": versions()}
    write_text(folder / FILE, json.dumps(content, indent=2) + "\n")


def require_base(adapter: Path, name: str, folder: Path) -> Base:
    """The model of this name in a folder; `ModelError` if an adapter is for other weights.

    Raises `DataError` if the adapter has no note of its base.
    """
    file = adapter / FILE
    with reading(file, "note of an export", REMEDY):
        needed = json.loads(file.read_text(encoding="utf-8"))["base"]
        own, expected = str(needed["name"]), str(needed["weights_sha256"])
    base = Base.of(name, folder)
    if expected != base.sha256:
        raise ModelError(
            f"{adapter} is an adapter for another base: for {own}, whose weights have the SHA-256 "
            f"{expected[:SHORT]}…, and those of {base.name} have {base.sha256[:SHORT]}…; give the "
            "model that it was exported for"
        )
    return base
