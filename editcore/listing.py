"""What the installed plugins bring, as plain data and as text."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from editcore.plugins import Named, Registered, Registry

Inventory = Mapping[str, Sequence[Mapping[str, Any]]]
DISTRIBUTION_KEYS = ("distribution", "version")


def inventory(registry: Registry) -> Inventory:
    """What the hooks gave, by kind, and the broken plugins, each a list of records."""
    return {
        "editors": _records(registry.editors.values()),
        "key_strategies": _records(registry.key_strategies.values()),
        "delta_transforms": _records(registry.delta_transforms.values()),
        "metrics": _records(registry.metrics.values()),
        "broken": [
            {"name": f.entry_point, "distribution": f.distribution, "reason": f.reason}
            for f in registry.failures
        ],
    }


def inventory_text(found: Inventory) -> str:
    """The inventory for people, one line per record."""
    lines: list[str] = []
    for kind, records in found.items():
        if records:
            lines += ["", kind.replace("_", " "), *(f"  {_line(record)}" for record in records)]
    return "\n".join(lines[1:])


def _records(entries: Iterable[Registered[Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": entry.record.name,
            "summary": entry.record.summary,
            "paper": entry.record.paper,
            "distribution": entry.source.distribution,
            "version": entry.source.version,
            **_details(entry.record),
        }
        for entry in entries
    ]


def _details(record: Named) -> dict[str, Any]:
    """What only some kinds of records have: an editor's options, a metric's columns."""
    config = getattr(record, "config", None)
    options = {n: f.description or "" for n, f in config.model_fields.items()} if config else None
    columns = getattr(record, "columns", None)
    return ({"options": options} if options is not None else {}) | (
        {"columns": list(columns)} if columns is not None else {}
    )


def _line(record: Mapping[str, Any]) -> str:
    if "reason" in record:
        return f"{record['name']} ({record['distribution']}): {record['reason']}"
    paper = f" [{record['paper']}]" if record["paper"] else ""
    return (
        f"{record['name']:<12} {record['summary']}{paper} "
        f"({record['distribution']} {record['version']})"
    )
