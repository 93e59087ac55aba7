"""Finds rows in one folder of results that were made by different versions of code."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from editcore.errors import DataError
from editcore.records import provenance

TABLES = ("edits", "sequences")
EDITOR = (
    "Run snakemake, which makes the study's rows again unless the installed code made them. "
    "Delete other old files."
)
EDITCORE = (
    "Snakemake keeps them, since a new version of editcore does not rerun finished jobs. If "
    "numbers change according to CHANGELOG.md, delete the older files and run snakemake."
)


def described(results: Path) -> Iterator[tuple[str, str]]:
    """What is mixed, and what to do: for each editor with different code, and for editcore.

    Also names tables that cannot be read. Yields nothing if one version made everything.
    """
    editors: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    own: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(file for kind in TABLES for file in (results / kind).rglob("*.parquet")):
        try:
            record = provenance.read(path)
        except DataError as error:
            yield "results", str(error)
            continue
        editor = _mapping(_mapping(record.get("job")).get("editor"))
        label = str(editor.get("label", "unknown"))
        editors[label][_version(str(editor.get("distribution")), editor)].append(path)
        package = {
            "version": _mapping(record.get("versions")).get("editcore"),
            "code": record.get("code"),
        }
        own[_version("editcore", package)].append(path)
    for label, versions in editors.items():
        if len(versions) > 1:
            yield f"rows of {label}", f"{_mixed(versions)}. {EDITOR}"
    if len(own) > 1:
        yield "rows of all editors", f"{_mixed(own)}. {EDITCORE}"


def _mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, otherwise an empty one: others may have written the file."""
    return value if isinstance(value, Mapping) else {}


def _version(name: str, made: Mapping[str, Any]) -> str:
    return f"{name} {made.get('version')} (code {made.get('code') or 'unknown'})"


def _mixed(versions: Mapping[str, list[Path]]) -> str:
    parts = [
        f"{len(files)} file{'s' * (len(files) > 1)} by {version}, such as {files[0]}"
        for version, files in versions.items()
    ]
    return f"made by different versions: {'; '.join(parts)}"
