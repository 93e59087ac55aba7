"""What sending to any service shares: its library, and its errors in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from editcore.errors import ConfigError, EditcoreError, reason


def library(name: str) -> ModuleType:
    """A service's own library, which an extra of the same name installs.

    Raises `ConfigError` if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"the library {name} cannot be imported ({reason(error)}); install editcore[{name}]"
        ) from error


@contextmanager
def sending(to: str, remedy: str) -> Iterator[None]:
    """A block that sends something; any failure becomes one `EditcoreError` with a remedy.

    Each layer below a service's client has errors of its own. An `EditcoreError` passes unchanged.
    """
    try:
        yield
    except EditcoreError:
        raise
    except Exception as error:
        raise EditcoreError(f"{to} cannot be written ({reason(error)}); {remedy}") from error
