"""What all comparisons end with: their numbers as lines, and as JSON if asked."""

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch

OUT = click.option(
    "--json", "out", type=click.Path(dir_okay=False, path_type=Path), help="Also write JSON."
)


def numbers(text: str) -> list[int]:
    """`1,4` as numbers; empty if nothing is given."""
    return [int(part) for part in text.split(",") if part]


def machine(given: dict[str, Any]) -> dict[str, Any]:
    """Where, when and how a comparison was run."""
    device = torch.cuda.get_device_name() if given["device"].startswith("cuda") else "cpu"
    return {
        "precision": given["precision"],
        "data": "published" if given["folder"] else "bundled",
        "device": device,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


def finish(found: dict[str, Any], out: Path | None) -> None:
    """Print the table, and write it as JSON if asked."""
    for name, value in flat(found):
        click.echo(f"{name:<58} {value:.4g}" if isinstance(value, float) else f"{name:<58} {value}")
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def flat(found: Any, name: str = "") -> list[tuple[str, Any]]:
    """Nested results as lines; lists of numbers stay in the JSON."""
    if isinstance(found, dict):
        return [line for key, value in found.items() for line in flat(value, f"{name}{key} ")]
    return [] if isinstance(found, list) else [(name.strip(), found)]
