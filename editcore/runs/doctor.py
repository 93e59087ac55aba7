"""Whether an installation can work: versions, imports, plugins, devices, bundled models."""

import importlib
import importlib.metadata
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from editcore.datasets.bundled import bundled_models, resources_folder
from editcore.errors import EditcoreError
from editcore.planning import preflight
from editcore.records import code_versions
from editcore.registry.registry import load_registry

NEEDED = ("torch", "transformers", "safetensors", "polars", "pyarrow", "matplotlib", "scipy")
OPTIONAL = ("snakemake", "lm_eval")


@dataclass(frozen=True)
class Finding:
    """The state of one thing that was examined; a `note` is healthy, but should be known."""

    subject: str
    text: str
    healthy: bool = True
    note: bool = False

    def __str__(self) -> str:
        mark = "BAD" if not self.healthy else "NB " if self.note else "ok "
        return f"{mark} {self.subject}: {self.text}"


def examine(results: Path) -> list[Finding]:
    """All findings, healthy or not; of the results only which were made by different versions."""
    python = Finding("python", platform.python_version())
    mixed = (
        Finding(subject, text, note=True) for subject, text in code_versions.described(results)
    )
    return [python, *_packages(), *_devices(), *_plugins(), *_bundled(), *mixed]


def _packages() -> Iterator[Finding]:
    yield Finding("editcore", importlib.metadata.version("editcore"))
    for name in NEEDED:
        yield _package(name, needed=True)
    for name in OPTIONAL:
        yield _package(name, needed=False)


def _package(name: str, needed: bool) -> Finding:
    """Import a package, because only that shows whether it works."""
    try:
        importlib.import_module(name)
        return Finding(name, importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "importable, version unknown")
    except ModuleNotFoundError as error:
        extra = "install it with pip" if needed else "not installed (optional)"
        return Finding(name, f"{error}; {extra}" if needed else extra, healthy=not needed)
    except Exception as error:  # a broken binary package may raise anything
        text = f"cannot be imported ({type(error).__name__}: {error}); reinstall it"
        return Finding(name, text, healthy=not needed)


def _devices() -> Iterator[Finding]:
    try:
        torch = importlib.import_module("torch")
    except Exception:  # already reported as a package
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = [torch.cuda.get_device_name(index) for index in range(count)]
    yield Finding("devices", ", ".join(["cpu", *names]))


def _plugins() -> Iterator[Finding]:
    try:
        registry = load_registry()
    except EditcoreError as error:
        yield Finding("plugins", str(error), healthy=False)
        return
    editors = ", ".join(entry.record.name for entry in registry.editors.values())
    yield Finding("editors", editors or "none; install a plugin", healthy=bool(editors))
    for failure in registry.failures:
        yield Finding(f"plugin {failure.distribution}", failure.reason, healthy=False)


def _bundled() -> Iterator[Finding]:
    root = resources_folder()
    yield Finding("resources", str(root) if root else "not found; `pip install 'editcore[world]'`")
    for name, folder in bundled_models().items():
        try:
            preflight.model_files(str(folder))
            yield Finding(f"model {name}", str(folder))
        except EditcoreError as error:
            yield Finding(f"model {name}", str(error), healthy=False)
