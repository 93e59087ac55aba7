"""The uncentred second moment C = E[k kᵀ] of a layer's keys (Meng et al. 2022, eq. 2).

The papers' text multiplies keys by C⁻¹, so that an update disturbs other keys as little as
possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from editcore import trace
from editcore.atomic import write_tensors
from editcore.errors import DataError
from editcore.tokens import pad

if TYPE_CHECKING:
    from editcore.jobs import MomentJob
    from editcore.models import LoadedModel

BATCH_TOKENS = 8192
RIDGE = 1e-8


@dataclass(frozen=True)
class SecondMoment:
    """C `[d_key, d_key]` over `tokens` tokens, and its lower Cholesky factor; both float64."""

    layer: int
    matrix: torch.Tensor
    factor: torch.Tensor
    tokens: int

    def solve(self, keys: torch.Tensor) -> torch.Tensor:
        """C⁻¹k for a key `[d_key]` or keys `[n, d_key]`, in float64.

        >>> moment = from_matrix(0, torch.diag(torch.tensor([4.0, 2.0])), tokens=9)
        >>> moment.solve(torch.tensor([8.0, 8.0])).round().tolist()
        [2.0, 4.0]
        """
        columns = keys.double().cpu().reshape(-1, keys.shape[-1]).T
        return torch.cholesky_solve(columns, self.factor).T.reshape(keys.shape)


def from_matrix(layer: int, matrix: torch.Tensor, tokens: int) -> SecondMoment:
    """Factor a second moment; `DataError` where it is not positive definite even with a tiny ridge.

    The ridge, `1e-8` of the mean diagonal, is added only where the factorisation fails without it,
    as it does with fewer tokens than keys have dimensions.
    """
    matrix = matrix.double().cpu()
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        ridge = RIDGE * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=torch.float64)
        factor, failed = torch.linalg.cholesky_ex(matrix + ridge)
    if failed or not factor.isfinite().all():
        raise DataError(
            f"the second moment of layer {layer} over {tokens} tokens is not positive definite; "
            f"give more tokens than the {len(matrix)} dimensions of a key"
        )
    return SecondMoment(layer, matrix, factor, tokens)


@torch.no_grad()
def measure(model: "LoadedModel", layer: int, texts: Sequence[str], tokens: int) -> SecondMoment:
    """Stream texts through the model up to `layer` until `tokens` keys have been summed.

    Texts longer than the model's positions are cut there, as the papers' code does; texts are taken
    in their order, so the result depends on nothing but them.
    """
    total: torch.Tensor | None = None
    count = 0
    progress = tqdm(total=tokens, unit="token", desc=f"second moment, layer {layer}", mininterval=5)
    for rows in _batches(model, texts):
        batch = pad(rows, model.pad_id, "right", model.device)
        with trace.recording(model.layout.down(layer), stop=True) as seen:
            model.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
        assert seen.input is not None
        keys = seen.input[batch.mask.bool()].double().cpu()[: tokens - count]
        total = keys.T @ keys if total is None else total.addmm_(keys.T, keys)
        count += len(keys)
        progress.update(len(keys))
        if count >= tokens:
            break
    progress.close()
    if total is None:
        raise DataError(f"no texts to measure the second moment of layer {layer} on")
    return from_matrix(layer, total / count, count)


def _batches(model: "LoadedModel", texts: Sequence[str]) -> "list[list[list[int]]]":
    """Token rows of neighbouring texts, grouped so that a padded batch stays small."""
    longest = min(model.max_positions, BATCH_TOKENS)
    batches: list[list[list[int]]] = [[]]
    for text in texts:
        row = model.tokenizer(text)["input_ids"][:longest]
        if not row:
            continue
        width = max([len(row), *map(len, batches[-1])])
        if (len(batches[-1]) + 1) * width > BATCH_TOKENS and batches[-1]:
            batches.append([])
        batches[-1].append(row)
    return [batch for batch in batches if batch]


def save(moment: SecondMoment, path: Path, metadata: dict[str, str]) -> None:
    """Write C and its factor as float32 and float64, whole or not at all."""
    about = {**metadata, "layer": str(moment.layer), "tokens": str(moment.tokens)}
    write_tensors(path, {"matrix": moment.matrix.float(), "factor": moment.factor}, about)


def load(path: Path) -> SecondMoment:
    """Read what `save` wrote; `DataError` for anything else."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            return SecondMoment(
                int(about["layer"]),
                file.get_tensor("matrix").double(),
                file.get_tensor("factor"),
                int(about["tokens"]),
            )
    except (SafetensorError, OSError, KeyError) as error:
        raise DataError(
            f"{path} holds no second moment ({error}); delete it and run again"
        ) from error


def run(job: "MomentJob", out: Path) -> None:
    """Measure and save the second moment that a job asks for."""
    from editcore.models import load_spec
    from editcore.readers import read_texts

    texts = read_texts(Path(job.path), None)
    save(
        measure(load_spec(job.model), job.layer, texts, job.tokens),
        out,
        {"job": job.model_dump_json()},
    )
