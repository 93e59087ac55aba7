"""Writes the folder of a new study: its configuration, its Snakefile and its profiles."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from editcore.atomic import new_folder
from editcore.config.options import published_layer
from editcore.config.study import load
from editcore.datasets.bundled import bundled_models, local_path, workflow_folder
from editcore.datasets.data_file import DataFile
from editcore.datasets.readers import read_dataset
from editcore.errors import ModelError
from editcore.models.hub import fetch_description
from editcore.planning import preflight
from editcore.registry.registry import load_registry
from editcore.runs.prepare import named_model

TEMPLATES = {"README.md.jinja": "README.md", "config.yaml.jinja": "config.yaml"}
PROFILES = ("default", "slurm")


def create(folder: Path, model: str, facts: Path | None, say: Callable[[str], None]) -> list[Path]:
    """Write a small study of one model into a new folder; returns its files.

    Its facts are a copy of the file `facts`, or else bundled ones. The configuration of a model of
    the hub is downloaded, because the layer to edit follows from the model's depth.
    Raises `EditcoreError` if the folder exists, `ModelError` if there is no such model, and
    `DataError` if the facts cannot be read.
    """
    values = _values(model, say)
    if facts is not None:
        read_dataset(DataFile(str(facts)), load_registry())
        values |= {"facts": f"facts{facts.suffix}"}
    ours = workflow_folder()
    with new_folder(folder) as made:
        for template, name in TEMPLATES.items():
            (made / name).write_text(_rendered(ours / "template", template, values), "utf-8")
        load(made / "config.yaml")
        shutil.copy(ours / "template" / "Snakefile", made)
        for name in PROFILES:
            (made / "profiles").mkdir(exist_ok=True)
            shutil.copytree(ours / "profiles" / name, made / "profiles" / name)
        if facts is not None:
            shutil.copy(facts, made / values["facts"])
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _values(model: str, say: Callable[[str], None]) -> dict[str, Any]:
    """What the templates show of a model."""
    label, _ = named_model(model, None)
    bundled = model in bundled_models()
    source = model if bundled else _absolute(model)
    fetch_description(source, None, None, say)
    if (blocks := preflight.depth(source)) is None:
        raise ModelError(
            f"the configuration of {model} does not contain the number of its blocks; name a "
            "language model, in a folder or on the hub"
        )
    layer = published_layer(blocks)
    return {
        "label": label,
        "source": source,
        "bundled": bundled,
        "blocks": blocks,
        "layer": layer,
        "facts": "",
    }


def _absolute(source: str) -> str:
    """A folder or file on this machine by its full path, since the study runs in another folder."""
    place = local_path(source)
    return str(place.resolve()) if place.exists() else source


def _rendered(folder: Path, template: str, values: Mapping[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    return environment.get_template(template).render(values)
