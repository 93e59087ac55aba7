"""Downloads the data files of a study that are published on the hub or on a web server."""

from collections.abc import Callable, Iterator

from editcore.config.published import PublishedFile
from editcore.config.study import StudyConfig
from editcore.errors import at
from editcore.sources import hub_file, web_file
from editcore.sources.cache import sha256_of
from editcore.sources.hub_file import HubFile
from editcore.sources.published import published, required
from editcore.sources.web_file import WebFile

Row = dict[str, str | None]


def fetch(config: StudyConfig, silent: str, say: Callable[[str], None]) -> list[Row]:
    """Download each file to its cache, unless it is there; a row of each with its SHA-256.

    `silent` is why the hub does not answer, empty if it does; `say` is called with each step.
    Raises `DataError` if a file cannot be downloaded or has another SHA-256 than required.
    """
    rows: list[Row] = []
    for place, source, sha256 in _files(config):
        with at(place):
            row = _fetched(source, sha256, silent, say)
        if row not in rows:
            rows.append(row)
    return rows


def missing(config: StudyConfig) -> Iterator[str]:
    """A line for each file that `fetch` would download; nothing is asked of a network."""
    lines = []
    for _, source, sha256 in _files(config):
        file = source.cached()
        if file is None or sha256 not in (None, sha256_of(file)):
            at_revision = f" at {source.at}, from the hub" if isinstance(source, HubFile) else ""
            lines.append(f"{source}{at_revision}")
    yield from dict.fromkeys(lines)


def needed(config: StudyConfig) -> set[tuple[str, str | None]]:
    """Each file as the rows of `fetch` name it, with the revision asked for."""
    return {(str(source), _revision(source)) for _, source, _ in _files(config)}


def from_hub(config: StudyConfig) -> bool:
    """Whether any of the files is on the hub."""
    return any(isinstance(source, HubFile) for _, source, _ in _files(config))


def _files(config: StudyConfig) -> Iterator[tuple[str, HubFile | WebFile, str | None]]:
    """Each file that is published: its place in the study, the file, the SHA-256 required."""
    named: dict[str, PublishedFile] = {
        **{f"datasets.{label}": choice for label, choice in config.datasets.items()},
        "perplexity": config.perplexity,
        "moments": config.moments,
    }
    for place, choice in named.items():
        if (source := published(choice)) is not None:
            yield place, source, required(choice)


def _fetched(
    source: HubFile | WebFile, sha256: str | None, silent: str, say: Callable[[str], None]
) -> Row:
    row: Row = {"source": str(source), "revision": _revision(source), "commit": None}
    if isinstance(source, HubFile):
        file = hub_file.fetch(source, sha256, silent, say)
        row["commit"] = hub_file.commit_of(file)
    else:
        file = web_file.fetch(source, sha256, say)
    return row | {"sha256": sha256_of(file)}


def _revision(source: HubFile | WebFile) -> str | None:
    return source.revision if isinstance(source, HubFile) else None
