"""Tasks by name: the file that describes one, and the files it reads; no heavy imports."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from editcore.config.messages import shown
from editcore.config.plain_yaml import PlainLoader, parse_yaml
from editcore.datasets.bundled import data_file
from editcore.errors import ConfigError, reason

ENDINGS = (".yaml", ".yml")
FOLDER = Path("resources") / "tasks"


class _Reader(PlainLoader):
    """Reads task files as data; what `!function` names is not imported."""


def _name(loader: PlainLoader, node: yaml.ScalarNode) -> object:
    return loader.construct_scalar(node)


_Reader.add_constructor("!function", _name)


def task_file(name: str) -> str | None:
    """The YAML file of a task: the given path, or a bundled one; None for lm-eval's own tasks.

    Raises `ConfigError` if a given file does not exist.
    """
    if name.endswith(ENDINGS):
        if not Path(file := data_file(name)).is_file():
            raise ConfigError(
                f"there is no task file {name}; give an existing one, or a task's name"
            )
        return file
    own = data_file(str(FOLDER / f"{name}.yaml"))
    return own if Path(own).is_file() else None


def label(name: str) -> str:
    """A task's name in the results: as given, or its file's name without the ending."""
    return Path(name).stem if name.endswith(ENDINGS) else name


def files(name: str) -> list[str]:
    """The files that a task is read from: YAML and local data; none for lm-eval's own tasks."""
    return list(dict.fromkeys(_files(name)))


def _files(name: str, groups: tuple[str, ...] = ()) -> Iterator[str]:
    """The files of a task; `groups` are those that led to it."""
    file = task_file(name)
    if file is None:
        return
    if file in groups:
        raise ConfigError(f"{file}: this group of tasks contains itself; take it out")
    yield file
    described = _described(file)
    for member in _members(file, described):
        yield from _files(member, (*groups, file))
    kwargs = described.get("dataset_kwargs")
    data = kwargs.get("data_files") if isinstance(kwargs, dict) else None
    for path in data.values() if isinstance(data, dict) else []:
        if not isinstance(path, str) or not Path(found := data_file(path)).is_file():
            raise ConfigError(f"{file}: there is no data file {shown(path)}; correct the path")
        yield found


def _members(file: str, described: Mapping[str, Any]) -> Iterator[str]:
    """The tasks of a group, which its file can name or define in place."""
    members = described.get("task") if "group" in described else None
    for member in members if isinstance(members, list) else []:
        name = member.get("task") if isinstance(member, dict) else member
        if not isinstance(name, str):
            raise ConfigError(f"{file}: {shown(member)} is not the name of a task; correct it")
        yield name


def _described(file: str) -> dict[str, Any]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the task file {file} cannot be read ({reason(error)}); give a YAML file in UTF-8"
        ) from None
    described = parse_yaml(text, f"the task file {file}", _Reader)
    if not isinstance(described, dict):
        raise ConfigError(
            f"{file}: expected the keys of an lm-eval task, found none; write at least `task:`"
        )
    return described
