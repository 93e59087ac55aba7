"""What differs between two studies before they ran: versions, models, options, data, stages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from editcore.numbers import MISSING
from editcore.summary.compared.finished import LABELS, Finished

# Parts of the configuration that the provenance has in full, or that no result depends on.
ELSEWHERE = ("models", "editors", "datasets", "collapse", "report", "shard_size")
# Parts of a model that make it another one.
OTHER_MODEL = ("weights", "dtype", "precision", "chat")
# Of a model, editor or data set: its label, and only where its weights are.
NAMELESS = ("name", "label", "source")
# Of weights that cannot be compared.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Setting:
    """A setting that differs; if it is `unlike`, the numbers are not of the same thing."""

    part: str
    name: str
    old: str
    new: str
    unlike: bool = False

    @property
    def in_words(self) -> str:
        """The setting's name with what it is of: `model tiny-gpt2.weights`."""
        return f"{self.part} {self.name}"


def settings(old: Finished, new: Finished) -> list[Setting]:
    """All that differ; of models, editors and data sets, those of the ones in both studies."""
    before, after = _known(old), _known(new)
    for column in LABELS:
        both = before[column].keys() & after[column].keys()
        before[column], after[column] = (
            {label: side[column][label] for label in sorted(both)} for side in (before, after)
        )
    if not (before["study"] and after["study"]):
        before["study"] = after["study"] = {}
    return [
        Setting(path[0], ".".join(path[1:]), _shown(a), _shown(b), _unlike(path))
        for path, a, b in _differences((), before, after)
    ]


def _known(study: Finished) -> dict[str, dict[str, Any]]:
    """Everything known of how a study was made, as a tree."""
    made = _mapping(study.about.get("edits"))
    models = {
        label: {**_mapping(spec), "weights": study.revisions.get(label, UNKNOWN)}
        for label, spec in _mapping(study.about.get("models")).items()
    }
    return {
        "versions": {**_mapping(made.get("versions")), "editcore's code": made.get("code")},
        "model": models,
        "editor": _mapping(study.about.get("editors")),
        "dataset": _mapping(study.about.get("datasets")),
        "prefixes": {"hash": made.get("prefixes_hash")},
        "verdict": _mapping(study.about.get("collapse")),
        "study": {k: v for k, v in study.config.items() if k not in ELSEWHERE},
    }


def _differences(
    path: tuple[str, ...], old: Any, new: Any
) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The leaves that differ in two trees, each with its path."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        left_out = NAMELESS if len(path) == 2 and path[0] in LABELS else ()
        for name in {**old, **new}:
            if name not in left_out:
                yield from _differences((*path, name), old.get(name), new.get(name))
    elif old != new and UNKNOWN not in (old, new):
        yield path, old, new


def _unlike(path: tuple[str, ...]) -> bool:
    return path[0] == "model" and path[2] in OTHER_MODEL


def _mapping(value: object) -> dict[str, Any]:
    """The value if it is a mapping, otherwise an empty one: others may have written the file."""
    return dict(value) if isinstance(value, Mapping) else {}


def _shown(value: object) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
