"""Why edits collapse a model: the experiments of "The Fall of ROME", for any model, as tables.

One module per experiment. `run` does all of one model; `editcore.summary.mechanism` joins the
tables of several.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editcore.planning.jobs import MechanismJob


def run(job: "MechanismJob", folder: Path) -> None:
    """Carry out all experiments on one model and write the tables to `folder`.

    Cases that cannot be used are in the tables' provenance, under `left_out`, with the reasons.
    """
    from editcore.records.mechanism_schemas import TABLES
    from editcore.records.provenance import of_job
    from editcore.records.tables import write_table
    from editcore.runs.mechanism import depth, distances, encoder, moved, positions, updates
    from editcore.runs.mechanism.clouds import Clouds
    from editcore.runs.mechanism.material import Material

    material = Material.open(job)
    clouds = Clouds.of(material)
    inner = encoder.keys(job, material) if job.encoder else None
    found = {
        "updates": updates.rows(material),
        "distances": distances.rows(material, clouds),
        "points": [*clouds.points(), *encoder.points(job, inner)],
        "moved": moved.rows(material, clouds),
        "depth": [*depth.rows(material), *encoder.rows(job, inner)],
        "positions": positions.rows(material),
    }
    about = of_job(job, left_out=material.left_out, artefacts=material.artefacts)
    for name, rows in found.items():
        write_table(folder / f"{name}.parquet", rows, TABLES[name], about)
