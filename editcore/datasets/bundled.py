"""Finds what is bundled, from any working directory: models, data files, and the workflow."""

import importlib.util
import os
import re
from pathlib import Path

from editcore.config.messages import did_you_mean, shown
from editcore.errors import DataError, ModelError, reason

VARIABLE = "EDITCORE_RESOURCES"
WORLD = "editcore_world"  # the package with the content of `resources`, for use without a checkout
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def workflow_folder() -> Path:
    """The folder with the Snakefile, its rules and its profiles."""
    return _home() / "workflow"


def default_study() -> Path:
    """The configuration of the default study."""
    return _home() / "config.yaml"


def resources_folder() -> Path | None:
    """The folder `resources`; None if there is none.

    It is the one that the environment names, of the checkout, of the installed distribution
    editcore-world, or in the working directory.
    """
    candidates = [
        *([Path(named)] if (named := os.environ.get(VARIABLE)) else []),
        _home() / "resources",
        *_installed_world(),
        Path("resources"),
    ]
    return next((folder for folder in candidates if folder.is_dir()), None)


def _home() -> Path:
    """The folder that contains `workflow`: the package in a wheel, else the checkout."""
    package = Path(__file__).resolve().parents[1]
    return package if (package / "workflow").is_dir() else package.parent


def _installed_world() -> list[Path]:
    spec = importlib.util.find_spec(WORLD)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def bundled_models() -> dict[str, Path]:
    """The folders of the bundled models, by name."""
    root = resources_folder()
    found = sorted((root / "models").glob("*/config.json")) if root else []
    return {file.parent.name: file.parent for file in found}


def is_bundled(source: str) -> bool:
    """Whether a model's source is a bundled model, by its name or its folder."""
    return bundled_name(source) is not None


def bundled_name(source: str) -> str | None:
    """The name of the bundled model at a source, its name or its folder; None for other models."""
    bundled = bundled_models()
    if source in bundled:
        return source
    place = Path(source).resolve()
    return next((name for name, folder in bundled.items() if folder.resolve() == place), None)


def model_folder(source: str) -> Path | None:
    """The folder of a bundled model or at a path; None if `source` is a hub id.

    Raises `ModelError` if `source` can only be a folder and does not exist.
    """
    bundled = bundled_models()
    if source in bundled:
        return bundled[source]
    folder = local_path(source)
    if folder.is_dir():
        return folder
    meant = did_you_mean(source, bundled, likeness=0.8)
    if meant or not _may_be_hub_id(source):
        raise ModelError(
            f"there is no model folder {shown(source)}. {meant}Give an existing folder, a hub id "
            f"(owner/name), or a bundled name: {', '.join(bundled) or 'none found'}"
        )
    return None


def model_source(source: str) -> str:
    """What transformers should load: a folder or a hub id; raises as `model_folder` does."""
    folder = model_folder(source)
    return source if folder is None else str(folder)


def _may_be_hub_id(source: str) -> bool:
    """Whether this may be `owner/name` or `name`; in an existing folder it is a mistyped path."""
    owner, slash, _ = source.partition("/")
    return HUB_ID.fullmatch(source) is not None and not (slash and Path(owner).is_dir())


def local_path(text: str) -> Path:
    """The path that a user gave, `~` expanded; raises `DataError` if it cannot be a path."""
    try:
        path = Path(text).expanduser()
        os.stat(path)
    except FileNotFoundError:
        pass  # the caller decides whether the file must exist
    except NotADirectoryError:
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{shown(text)} is not a valid path ({reason(error)}); correct it"
        ) from None
    return path


def data_file(path: str) -> str:
    """`path`, or the bundled file if `resources/...` is not in the working directory."""
    file = local_path(path)
    root = resources_folder()
    if file.exists() or file.is_absolute() or file.parts[:1] != ("resources",) or root is None:
        return str(file)
    bundled = root.joinpath(*file.parts[1:])
    return str(bundled) if bundled.exists() else str(file)
