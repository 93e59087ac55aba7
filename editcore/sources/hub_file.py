"""A file in a data set of the hub, which is kept in the hub's own cache."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore.config.messages import did_you_mean
from editcore.errors import DataError, EditcoreError, reason
from editcore.sources.cache import sha256_of

KIND = "dataset"
LICENCE_TAG = "license:"
# The folder of the hub's cache in which each commit has a folder of its own.
SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class HubFile:
    """A file by its path in a repository, `owner/name`, at a branch, tag or commit."""

    repository: str
    path: str
    revision: str | None

    def __str__(self) -> str:
        return f"{self.repository}: {self.path}"

    @property
    def at(self) -> str:
        """The revision, as texts for people name it."""
        return self.revision or "its latest revision"

    def cached(self, revision: str | None = None) -> Path | None:
        """The file in the hub's cache, by default at its own revision; None if it is not there."""
        # Imported late, here and below, because it slows the start of every command.
        from huggingface_hub import try_to_load_from_cache

        wanted = revision or self.revision
        found = try_to_load_from_cache(self.repository, self.path, revision=wanted, repo_type=KIND)
        return Path(found) if isinstance(found, str) else None


def fetch(wanted: HubFile, sha256: str | None, silent: str, say: Callable[[str], None]) -> Path:
    """The file in the hub's cache, downloaded unless it is there at the newest commit.

    If the hub does not answer, for the reason `silent`, the cache has to have it. `say` is called
    with the file's size, licence and SHA-256. Raises `DataError` if the hub does not have the
    file, or has another one than `sha256` requires, of which nothing is kept.
    """
    if silent:
        if (there := wanted.cached()) is None:
            raise _failed(wanted, silent)
        return _required(wanted, there, sha256)
    try:
        known = _announced(wanted, say)
        file = _downloaded(wanted)
    except EditcoreError:
        raise
    except Exception as error:  # each layer below the hub's client has errors of its own
        raise _failed(wanted, reason(error)) from error
    if known:
        return _required(wanted, file, sha256)
    try:
        _required(wanted, file, sha256)
    except DataError:
        file.resolve().unlink()
        file.unlink(missing_ok=True)
        raise
    hint = " as required" if sha256 else ", which `sha256` in the study can require"
    say(f"SHA-256 {sha256_of(file)}{hint}; kept in the hub's cache")
    return file


def commit_of(file: Path) -> str:
    """The commit of a file in the hub's cache, from the folder that it is in."""
    return file.parts[len(file.parts) - file.parts[::-1].index(SNAPSHOTS)]


def _announced(wanted: HubFile, say: Callable[[str], None]) -> bool:
    """Whether the file is in the cache at the revision's commit; if not, what it is is said."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    info = HfApi().dataset_info(wanted.repository, revision=wanted.revision)
    if wanted.cached(info.sha) is not None:
        return True
    names = [each.rfilename for each in info.siblings or []]
    if wanted.path not in names:
        raise DataError(
            f"the data set {wanted.repository} at {wanted.at} has no file {wanted.path}. "
            f"{did_you_mean(wanted.path, names)}Correct `path` or `revision`"
        )
    url = hf_hub_url(wanted.repository, wanted.path, repo_type=KIND, revision=wanted.revision)
    size = get_hf_file_metadata(url).size
    told = "of unknown size" if size is None else f"{size / 1e6:.1f} MB"
    say(f"download {wanted.path} of {wanted.repository} from the hub: {told}, {_licence(info)}")
    return False


def _licence(info: Any) -> str:
    """What the hub says of a repository's licence."""
    tags = [tag for tag in info.tags or [] if tag.startswith(LICENCE_TAG)]
    licence = ", ".join(tag.removeprefix(LICENCE_TAG) for tag in tags)
    return f"licence: {licence}" if licence else "licence not stated"


def _downloaded(wanted: HubFile) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(
        hf_hub_download(wanted.repository, wanted.path, revision=wanted.revision, repo_type=KIND)
    )


def _required(wanted: HubFile, file: Path, sha256: str | None) -> Path:
    """The file; raises `DataError` if it has another SHA-256."""
    if sha256 is not None and (found := sha256_of(file)) != sha256:
        raise DataError(
            f"{wanted} at {wanted.at} has the SHA-256 {found}, and {sha256} is required; correct "
            "`sha256` or `revision`, or do not use this file"
        )
    return file


def _failed(wanted: HubFile, why: str) -> DataError:
    return DataError(
        f"{wanted} at {wanted.at} cannot be fetched from the hub: {why}; check name, revision, "
        "access and network"
    )
