"""The scale for disturbances: what rounding a model's weights does to its predictions."""

from pathlib import Path
from typing import Any

from editcore.errors import ModelError
from editcore.evaluation import rounding
from editcore.evaluation.perplexity import TokenizedTexts, Unedited, measure_unedited
from editcore.evaluation.treatments.compression import Compression
from editcore.models.loading import Load, LoadedModel, load_spec
from editcore.planning.jobs import RoundingJob
from editcore.records.model_schemas import ROUNDING
from editcore.records.provenance import of_job
from editcore.records.stored_precision import stored_precision
from editcore.records.tables import write_table
from editcore.registry.registry import load_registry
from editcore.requests import OK
from editcore.runs.baseline import disturbance_columns


def run(job: RoundingJob, out: Path, load: Load = load_spec) -> None:
    """Round the weights of a job's model to 8 and to 4 bits, and measure each; rows to `out`.

    If they cannot be rounded, `status` is the reason, and the measurements are null.
    """
    model = load(job.model, load_registry())
    texts, unedited = measure_unedited(model, job.perplexity)
    about = {
        "model": job.model.name,
        "dtype": job.model.dtype,
        "precision": job.model.precision,
        "stored_as": stored_precision(job.model.source, job.model.revision),
    }
    rows = []
    for bits in rounding.BITS:
        how = rounding.compression(bits, model.device)
        made = {"bits": bits, "rounded_as": how.rounded_as}
        rows.append({**about, **made, **_measured(model, texts, unedited, how)})
    write_table(out, rows, ROUNDING, of_job(job))


def _measured(
    model: LoadedModel, texts: TokenizedTexts, unedited: Unedited, how: Compression
) -> dict[str, Any]:
    base = unedited.perplexity.mean
    try:
        found = rounding.measure(model, texts, unedited, how)
    except ModelError as error:
        return {"status": str(error), "perplexity_base": base}
    return {
        "status": OK,
        "perplexity": found.mean,
        "perplexity_base": base,
        "perplexity_ratio": found.mean / base,
        **disturbance_columns(found.disturbance),
    }
