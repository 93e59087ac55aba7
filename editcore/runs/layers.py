"""Keys at every layer: where on the depth a subject's bare key departs from its mean key.

ROME divides by k̄·kᵘ (with C: k̄ᵀC⁻¹kᵘ). A layer where that is much smaller than k̄·k̄ is one where its
edit of this subject is as many times larger than C-ROME's ("The Fall of ROME", §3).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float32
from torch import Tensor
from torch.nn.functional import cosine_similarity

from editcore.errors import RequestError
from editcore.keyvalue import prefixes
from editcore.keyvalue.keys import keys_by_layer, tokenize_templates
from editcore.models.loading import LoadedModel, load_spec
from editcore.models.tokenization import TokenizedPrompt
from editcore.planning.stages.jobs import LayersJob
from editcore.progress import progress_bar
from editcore.records import digests
from editcore.records.model_schemas import LAYERS
from editcore.records.provenance import of_job
from editcore.records.stored_precision import stored_precision
from editcore.records.tables import Row, write_table
from editcore.registry.registry import load_registry
from editcore.requests import OK, EditRequest
from editcore.runs.cases import posed_cases

CASES_AT_A_TIME = 16


def run(job: LayersJob, out: Path) -> None:
    """Write a row per case and layer of one model; a case without keys has one row per layer too.

    Its status says why.
    """
    registry = load_registry()
    model = load_spec(job.model, registry)
    context = prefixes.load(Path(job.prefixes))
    made_from = of_job(job, prefixes_hash=context.hash, artefacts=digests.of_files([job.prefixes]))
    stored = stored_precision(job.model.source, job.model.revision)
    rows: list[Row] = []
    total = sum(len(each.case_ids) for each in job.sets)
    with progress_bar(total=total, title=f"{job.model.name} layers", unit="case") as bar:
        for each in job.sets:
            found = posed_cases(model, each.dataset, each.case_ids, registry)
            for start in range(0, len(found), CASES_AT_A_TIME):
                some = found[start : start + CASES_AT_A_TIME]
                about = {"model": job.model.name, "dataset": each.dataset.name, "stored_as": stored}
                rows += [{**about, **row} for row in _rows(model, some, context.templates)]
                bar.update(len(some))
    write_table(out, rows, LAYERS, made_from)


def _rows(
    model: LoadedModel, requests: Sequence[EditRequest], templates: Sequence[str]
) -> Iterator[Row]:
    tokenized = [_tokenized(model, request, templates) for request in requests]
    sound = [prompts for prompts in tokenized if not isinstance(prompts, str)]
    keys = iter(keys_by_layer(model, sound) if sound else [])
    for request, prompts in zip(requests, tokenized, strict=True):
        about = {"case_id": request.case_id, "subject": request.subject}
        if isinstance(prompts, str):
            yield from (
                about | {"layer": layer, "status": prompts} for layer in range(model.parts.depth)
            )
            continue
        about |= {
            "status": OK,
            "subject_position": prompts[0].subject,
            "subject_tokens": prompts[0].subject_tokens,
        }
        for layer, of_layer in enumerate(next(keys)):
            yield about | {"layer": layer, **compared(of_layer)}


def _tokenized(
    model: LoadedModel, request: EditRequest, templates: Sequence[str]
) -> list[TokenizedPrompt] | str:
    """The prompt after every template, or why it cannot be edited."""
    if request.flaw:
        return request.flaw
    try:
        prompts = tokenize_templates(model, request, templates)
    except RequestError as error:
        return str(error)
    if (longest := max(len(prompt.ids) for prompt in prompts)) > model.max_positions:
        return f"{longest} tokens after the longest prefix; the model has {model.max_positions}"
    return prompts


def compared(keys: Float32[Tensor, "template d_key"]) -> dict[str, Any]:
    """The bare key, in row 0, against the mean over all rows."""
    bare, mean = keys[0].double(), keys.double().mean(0)
    return {
        "key_cosine": float(cosine_similarity(bare, mean, dim=0)),
        "key_norm": float(bare.norm()),
        "mean_norm": float(mean.norm()),
        "denominator_share": float(mean @ bare / (mean @ mean)),
    }
