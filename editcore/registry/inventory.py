"""What the installed plugins provide, as plain data and as text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from editcore.registry.catalogue import LISTS, Named, Registered
from editcore.registry.hookspecs import DeltaTransformInfo, EditorWrapperInfo, TransformInfo
from editcore.registry.registry import Registry

Inventory = Mapping[str, Sequence[Mapping[str, Any]]]


def inventory(registry: Registry) -> Inventory:
    """The records of each kind, and the broken plugins, as plain data."""
    return {
        "editors": _records(registry.editors.values()),
        "key_strategies": _records(registry.key_strategies.values()),
        "delta_transforms": _records(_of_kind(registry, DeltaTransformInfo)),
        "editor_wrappers": _records(_of_kind(registry, EditorWrapperInfo)),
        "metrics": _records(registry.metrics.values()),
        "model_families": _records(registry.model_families.values()),
        "dataset_formats": _records(registry.dataset_formats.values()),
        "judges": _records(registry.judges.values()),
        "broken": [
            {
                "name": f.entry_point,
                "distribution": f.distribution,
                "version": f.version,
                "reason": f.reason,
            }
            for f in registry.failures
        ],
    }


def inventory_text(found: Inventory) -> str:
    """The inventory for people, one line per record."""
    lines: list[str] = []
    for kind, records in found.items():
        if records:
            width = max(len(record["name"]) for record in records)
            lines += ["", kind.replace("_", " "), *(f"  {_line(r, width)}" for r in records)]
    return "\n".join(lines[1:])


def _of_kind(registry: Registry, kind: type[TransformInfo]) -> list[Registered[TransformInfo]]:
    return [entry for entry in registry.transforms.values() if isinstance(entry.record, kind)]


def _records(entries: Iterable[Registered[Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.record.name,
            "summary": entry.record.summary,
            "paper": getattr(entry.record, "paper", ""),
            "distribution": entry.source.distribution,
            "version": entry.source.version,
            **_details(entry.record),
        }
        for entry in entries
    ]


def _details(record: Named) -> dict[str, Any]:
    """What only some kinds have: options with descriptions, capabilities, and lists of names."""
    details: dict[str, Any] = {}
    if (config := getattr(record, "config", None)) is not None:
        details["options"] = {n: f.description or "" for n, f in config.model_fields.items()}
    if (capabilities := getattr(record, "capabilities", None)) is not None:
        details["capabilities"] = asdict(capabilities)
    for name in sorted(LISTS & vars(record).keys()):
        details[name] = list(getattr(record, name))
    return details


def _line(record: Mapping[str, Any], width: int) -> str:
    origin = f"({record['distribution']} {record['version']})"
    if "reason" in record:
        return f"{record['name']:<{width}} {origin}: {record['reason']}"
    paper = f" [{record['paper']}]" if record["paper"] else ""
    return f"{record['name']:<{width}} {record['summary']}{paper} {origin}"
