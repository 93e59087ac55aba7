"""Writes a new plugin: a small package with a working editor, as a starting point."""

import importlib.metadata
import re
import shlex
import sys
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType

from jinja2 import Environment, StrictUndefined

from editcore.atomic import write_text
from editcore.errors import ConfigError
from editcore.registry.hookspecs import PROJECT
from editcore.registry.registry import load_registry

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# The path of each template in the new project.
FILES: Mapping[str, str] = MappingProxyType(
    {
        "pyproject.toml.jinja": "pyproject.toml",
        "README.md.jinja": "README.md",
        "module.py.jinja": "{module}/__init__.py",
        "editor.py.jinja": "{module}/editor.py",
        "test_editor.py.jinja": "tests/test_editor.py",
    }
)


def create(name: str, parent: Path) -> list[Path]:
    """Write the project `editcore-NAME` in `parent`; returns its files.

    Raises `ConfigError` for a malformed name, one that is taken, or an existing folder.
    """
    _require_free(name)
    folder = parent / f"{PROJECT}-{name}"
    if folder.exists():
        raise ConfigError(f"{folder} already exists; choose another name, or remove it")
    install, test = commands(folder)
    values = {
        "install": install,
        "test": test,
        "name": name,
        "distribution": folder.name,
        "module": folder.name.replace("-", "_"),
        "title": "".join(word.capitalize() for word in name.split("-")),
        "version": importlib.metadata.version(PROJECT),
    }
    return [_write(template, folder, values) for template in FILES]


def commands(folder: Path) -> list[str]:
    """The commands that install a plugin's folder in this environment and run its tests.

    An environment made by bootstrap.py has no pip, so bootstrap.py is used instead.
    """
    place, script = shlex.quote(str(folder.resolve())), Path(sys.prefix).parent / "bootstrap.py"
    if script.is_file():
        python = f"python3 {shlex.quote(str(script))}"
        return [f"{python} add -e {place}", f"{python} test {place}"]
    return [f"pip install -e {place}", f"pytest {place}"]


def _require_free(name: str) -> None:
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a valid plugin name; use lower-case letters and digits, a letter "
            "first, and join words with '-', for example my-editor"
        )
    editors = load_registry().editors
    if name in editors:
        raise ConfigError(
            f"{editors[name].source.distribution} already provides an editor {name!r}; "
            "choose another name"
        )


def _write(template: str, folder: Path, values: Mapping[str, str]) -> Path:
    source = resources.files(__package__).joinpath("template", template)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    text = environment.from_string(source.read_text(encoding="utf-8")).render(values)
    path = folder / FILES[template].format(**values)
    write_text(path, text)
    return path
