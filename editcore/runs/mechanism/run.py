"""Why edits collapse a model: the experiments of "The Fall of ROME", for any model, as tables.

One module per experiment. `run` does all of one model; `editcore.summary.mechanism` joins the
tables of several.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from editcore.planning.stages.jobs import MechanismJob
    from editcore.records.tables import Row


def run(job: "MechanismJob", folder: Path) -> None:
    """Carry out all experiments on one model and write the tables to `folder`.

    Cases that cannot be used are in the tables' provenance, under `left_out`, with the reasons.
    """
    from editcore.records.mechanism_schemas import TABLES
    from editcore.records.provenance import of_job
    from editcore.records.stored_precision import stored_precision
    from editcore.records.tables import write_table
    from editcore.runs.mechanism import depth, distances, encoder, moved, positions, updates
    from editcore.runs.mechanism.clouds import Clouds
    from editcore.runs.mechanism.material import Material

    material = Material.open(job)
    clouds = Clouds.of(material)
    inner = encoder.keys(job, material) if job.encoder else None
    stored = stored_precision(job.model.source, job.model.revision)
    found = {
        "updates": _stored(updates.rows(material), stored),
        "distances": _stored(distances.rows(material, clouds), stored),
        "points": _stored(clouds.points(), stored),
        "moved": _stored(moved.rows(material, clouds), stored),
        "depth": _stored(depth.rows(material), stored),
        "positions": _stored(positions.rows(material), stored),
    }
    if job.encoder:
        stored = stored_precision(job.encoder)
        found["points"] += _stored(encoder.points(job, inner), stored)
        found["depth"] += _stored(encoder.rows(job, inner), stored)
    about = of_job(job, left_out=material.left_out, artefacts=material.artefacts)
    for name, rows in found.items():
        write_table(folder / f"{name}.parquet", rows, TABLES[name], about)


def _stored(rows: "Iterable[Row]", stored_as: str | None) -> "list[Row]":
    """The rows with the precision on disk of the model that they are about."""
    return [{**row, "stored_as": stored_as} for row in rows]
