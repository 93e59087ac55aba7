"""Every key of a study and every option of the installed editors, as tables made from the code."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from editcore.config.study import StudyConfig
from editcore.registry.catalogue import Registered
from editcore.registry.registry import load_registry

INTRODUCTION = """\
# Every key and option

All keys of a study and all options of the editors, transforms, wrappers and judges that this
repository contains, with their types and defaults, as the code checks them.
[Configuring a study](/configuring) explains the keys and how they work together.
"""
HEAD = "| key | type | default | meaning |\n|---|---|---|---|"
Schema = Mapping[str, Any]
LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def page() -> str:
    """The page."""
    registry = load_registry()
    plugins: dict[str, Iterable[Registered[Any]]] = {
        "Options of editors": registry.editors.values(),
        "Options of transforms and wrappers": registry.transforms.values(),
        "Options of judges": registry.judges.values(),
    }
    return "\n\n".join(
        [
            INTRODUCTION,
            "## Keys of a study",
            *_study(StudyConfig.model_json_schema()),
            *(part for title, found in plugins.items() for part in _plugins(title, found)),
        ]
    )


def _study(schema: Schema) -> Iterator[str]:
    """A table of each section, after the one that refers to it."""
    waiting: list[tuple[str, Schema]] = [("", schema)]
    while waiting:
        path, section = waiting.pop(0)
        if path:
            yield f"### `{path}`"
            yield section["description"]
        yield table(section)
        for key, described in section["properties"].items():
            for more, name in _inner(described):
                if "properties" in schema["$defs"][name]:
                    waiting.append((f"{path}.{key}{more}".lstrip("."), schema["$defs"][name]))


def _inner(described: Schema) -> Iterator[tuple[str, str]]:
    """The sections that a key's value contains: what follows the key's name, and its definition."""
    if "$ref" in described:
        yield "", described["$ref"].rsplit("/", 1)[1]
    for each in described.get("anyOf", ()):
        yield from _inner(each)
    for ending, inner in (
        *((".<label>", each) for each in _by_label(described)),
        ("[]", described.get("items")),
    ):
        if isinstance(inner, dict):
            yield from ((ending + after, name) for after, name in _inner(inner))


def _by_label(described: Schema) -> list[Any]:
    """What the values are like of a mapping whose keys the user chooses."""
    return [*described.get("patternProperties", {}).values(), described.get("additionalProperties")]


def _plugins(title: str, found: Iterable[Registered[Any]]) -> Iterator[str]:
    yield f"## {title}"
    for record in sorted((entry.record for entry in found), key=lambda record: record.name):
        schema = record.config.model_json_schema()
        yield f"### `{record.name}`"
        yield record.summary
        yield table(schema) if schema.get("properties") else "It has no options."


def table(schema: Schema) -> str:
    """The keys of one section or the options of one editor.

    >>> print(table({"properties": {"layer": {"type": "integer", "minimum": 0}}}).splitlines()[-1])
    | `layer` | integer ≥ 0 | required |  |
    """
    definitions = schema.get("$defs", {})
    rows = [
        f"| `{key}` | {kind(described, definitions)} | {_default(described)} | "
        f"{_cell(described.get('description', ''))} |"
        for key, described in schema["properties"].items()
    ]
    return "\n".join([HEAD, *rows])


def kind(described: Schema, definitions: Mapping[str, Schema]) -> str:
    """What values a key has.

    >>> kind({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]}, {})
    'list of strings, or null'
    """
    if "$ref" in described:
        inner = definitions.get(described["$ref"].rsplit("/", 1)[1], {})
        return "section" if "properties" in inner or not inner else kind(inner, definitions)
    if "allOf" in described:
        return kind(described["allOf"][0], definitions)
    if "anyOf" in described:
        kinds = dict.fromkeys(kind(each, definitions) for each in described["anyOf"])
        return ", or ".join(kinds)
    if "enum" in described or "const" in described:
        values = described.get("enum", [described.get("const")])
        return ", ".join(f"`{value}`" for value in values)
    if described.get("type") == "array":
        items = described.get("prefixItems")
        if items:
            return f"[{', '.join(kind(each, definitions) for each in items)}]"
        return f"list of {_plural(kind(described.get('items', {}), definitions))}"
    if described.get("type") == "object":
        inner = next((each for each in _by_label(described) if isinstance(each, dict)), {})
        return f"mapping of labels to {_plural(kind(inner, definitions))}" if inner else "mapping"
    limits = [
        f"{sign} {_number(described[name])}" for name, sign in LIMITS.items() if name in described
    ]
    return " ".join([described.get("type", "any"), " and ".join(limits)]).strip()


def _number(value: float) -> str:
    return "2⁶³" if value == 2**63 else f"{value:g}"


def _plural(name: str) -> str:
    return f"{name}s" if name in ("string", "integer", "number", "section") else name


def _default(described: Schema) -> str:
    if "default" not in described:
        return "required"
    default = described["default"]
    if isinstance(default, dict) and default:
        return "those below"
    return (
        "none"
        if default in (None, {}, [])
        else f"`{_cell(json.dumps(default, ensure_ascii=False))}`"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
