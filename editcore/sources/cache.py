"""The user's cache: what editcore has made or fetched once and can use again without a network."""

import hashlib
import json
import os
from pathlib import Path

from editcore.atomic import write_text
from editcore.errors import ModelError, reason

CACHE_VARIABLE = "EDITCORE_CACHE"
# Smaller files are hashed in less time than it takes to look their hash up.
SLOW_TO_HASH = 2**22


def default_cache() -> Path:
    """The folder: from the variable, else the user's own cache."""
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "editcore"


def sha256_of(file: Path) -> str:
    """A file's SHA-256 in hexadecimal; a large file is hashed once for each time that it changes.

    Raises `ModelError` if the file cannot be read.
    """
    try:
        stat = file.stat()
        if stat.st_size < SLOW_TO_HASH:
            return _hashed(file)
        name = json.dumps([str(file.resolve()), stat.st_size, stat.st_mtime_ns])
        known = default_cache() / "sha256" / hashlib.sha256(name.encode()).hexdigest()[:16]
        if known.is_file():
            return known.read_text(encoding="ascii")
        found = _hashed(file)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({reason(error)}); make it readable") from error
    write_text(known, found)
    return found


def _hashed(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
