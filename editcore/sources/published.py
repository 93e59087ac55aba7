"""Which file on this machine a study means by a local path, a file of the hub, or an address."""

from pathlib import Path

from editcore.config.published import PublishedFile
from editcore.datasets.bundled import data_file
from editcore.errors import DataError, Unfetched
from editcore.sources.cache import sha256_of
from editcore.sources.hub_file import HubFile
from editcore.sources.web_file import WebFile


def published(choice: PublishedFile) -> HubFile | WebFile | None:
    """The file that has to be fetched; None for a local one, and if none is named."""
    if choice.url is not None:
        return WebFile(choice.url)
    if choice.hub is not None and choice.path is not None:
        return HubFile(choice.hub, choice.path, choice.revision)
    return None


def required(choice: PublishedFile) -> str | None:
    """The SHA-256 that the file must have, in lower case."""
    return choice.sha256.lower() if choice.sha256 else None


def local_file(choice: PublishedFile, default: str = "") -> str:
    """The path of the file on this machine; of `default`, if the study names none.

    Whether a local file exists is not checked. Raises `Unfetched` if a file of the hub or of a web
    server is not on this machine with the SHA-256 required, and `DataError` if a local file has
    another one.
    """
    source, sha256 = published(choice), required(choice)
    if source is None:
        path = data_file(choice.path or default)
        if sha256 and Path(path).is_file() and (found := sha256_of(Path(path))) != sha256:
            raise DataError(
                f"{path} has the SHA-256 {found}, and {sha256} is required; get the right file, or "
                "correct `sha256`"
            )
        return path
    if (file := source.cached()) is None:
        raise Unfetched(
            f"{source} is not on this machine; run `snakemake fetch --configfile FILE` once, on a "
            "machine with a network"
        )
    if sha256 is not None and (found := sha256_of(file)) != sha256:
        raise Unfetched(
            f"{source} is on this machine with the SHA-256 {found}, and {sha256} is required; run "
            "`snakemake fetch --configfile FILE` to fetch it again, or correct `sha256`"
        )
    return str(file)
