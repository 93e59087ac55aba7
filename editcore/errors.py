"""Errors for users: each names what is wrong, where, and what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class EditcoreError(Exception):
    """Base of all errors that the command line prints as a message without a traceback."""


def in_one_line(error: BaseException) -> str:
    """The message of an error on one line; for foreign errors, the class and the message.

    >>> in_one_line(PluginError("no such name")), in_one_line(KeyError("x"))
    ('no such name', "KeyError: 'x'")
    """
    return str(error) if isinstance(error, EditcoreError) else f"{type(error).__name__}: {error}"


class ConfigError(EditcoreError):
    """The study's configuration cannot be used as it is."""


class DataError(EditcoreError):
    """A data file, or a record of one, cannot be read."""


class ModelError(EditcoreError):
    """A model cannot be found, loaded, or edited at the place asked for."""


class Unfetched(EditcoreError):
    """Something that a study needs is not on this machine yet, and `snakemake fetch` gets it."""


class PluginError(EditcoreError):
    """An installed plugin is broken, clashes with another, or broke its contract."""


class RequestError(EditcoreError):
    """One edit request cannot be carried out; the other requests of its shard can."""


@contextmanager
def at(place: str) -> Iterator[None]:
    """Put `place` in front of the message of an `EditcoreError`; its class stays."""
    try:
        yield
    except EditcoreError as error:
        raise type(error)(f"{place}: {error}") from None


# What reading and parsing a file of unknown content can raise.
UNFIT = (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError,
         RuntimeError)  # fmt: skip


@contextmanager
def reading(path: Path, holds: str, remedy: str = "delete it and run again") -> Iterator[None]:
    """A block that reads and parses a file, and does nothing else.

    A failure becomes one `DataError`: what the file lacks, why, and what to do. An `EditcoreError`
    passes unchanged.
    """
    try:
        yield
    except EditcoreError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"there is no file {path}; correct the path, or run the step that makes the file"
        ) from error
    except UNFIT as error:
        raise DataError(f"{path} contains no {holds} ({reason(error)}); {remedy}") from error


# How torch reports that memory could not be had, on any device, in lower case.
NO_MEMORY = (
    "allocate memory",
    "out of memory",
    "size calculation overflowed",
    "invalid buffer size",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether there was not enough memory, as Python or torch reports it.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("CUDA out of memory"))
    (True, True)
    """
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    return any(words in str(error).lower() for words in NO_MEMORY)


@contextmanager
def enough_memory(work: str) -> Iterator[None]:
    """A block in which a lack of memory is one `ModelError`, which names the work."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise ModelError(
            f"there is not enough memory to {work} ({reason(error)}); use a smaller model, a dtype "
            "of fewer bits, or a machine with more memory"
        ) from error


def require(condition: bool, flaw: str) -> None:
    """Raise `ValueError` with `flaw`, inside such a block, unless `condition` holds."""
    if not condition:
        raise ValueError(flaw)


def reason(error: BaseException) -> str:
    """Why a file cannot be read, on one line.

    >>> reason(KeyError("seed")), reason(ValueError())
    ("'seed' is missing", 'ValueError')
    """
    if isinstance(error, KeyError):
        return f"{error} is missing"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return next(iter(text.strip().splitlines()), type(error).__name__)
