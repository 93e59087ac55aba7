"""The uncentred second moment C = E[k kᵀ] of a layer's keys (Meng et al. 2022, eq. 2).

The papers' text multiplies keys by C⁻¹, so that an update disturbs other keys as little as
possible.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open

from editcore.atomic import write_tensors
from editcore.errors import DataError
from editcore.keyvalue.moment_accumulator import Checkpoint, MomentSums
from editcore.models import hooks
from editcore.models.architectures import stores_transposed
from editcore.models.batch_size import in_halves
from editcore.models.tokenization import pad
from editcore.planning import paths, preflight
from editcore.progress import progress_bar
from editcore.records.provenance import as_metadata, of_job, versions

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel
    from editcore.planning.jobs import MomentJob

BATCH_TOKENS = 8192
WINDOW_TOKENS = 16 * BATCH_TOKENS
RIDGES = (0.0, 1e-8, 1e-6, 1e-4)
CHECKPOINT_SECONDS = 120.0


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

    The ridge is added only where the factorisation fails without it, as it does with fewer tokens
    than keys have dimensions, or with sums made in float32: the least of `RIDGES` that is enough,
    as a share of the mean diagonal.
    """
    matrix = matrix.double().cpu()
    for ridge in RIDGES:
        added = ridge * matrix.diagonal().mean() * torch.eye(len(matrix), dtype=torch.float64)
        factor, failed = torch.linalg.cholesky_ex(matrix + added)
        if not failed and factor.isfinite().all():
            return SecondMoment(layer, matrix, factor, tokens)
    raise DataError(
        f"the second moment of layer {layer} over {tokens} tokens is not positive definite; "
        f"give more tokens than the {len(matrix)} dimensions of a key"
    )


@torch.no_grad()
def measure(
    model: "LoadedModel",
    layers: Sequence[int],
    texts: Iterable[str],
    tokens: int,
    checkpoint: Checkpoint | None = None,
) -> dict[int, SecondMoment]:
    """The second moments of several layers over the first `tokens` tokens of texts, in one pass.

    Texts longer than the model's positions are cut there, as the papers' code does. Which tokens
    count is settled before any are batched, so the result depends on texts and budget alone. With a
    checkpoint, an earlier measurement that was killed goes on from where it was.
    """
    wanted = sorted(set(layers))
    sums = MomentSums() if checkpoint is None else checkpoint.load(model.device)
    batches = _batches(_rows(model, texts, tokens))
    title = f"second moments of {len(wanted)} layers"
    with progress_bar(total=tokens, initial=sums.tokens, unit="token", title=title) as bar:
        for rows in islice(batches, sums.batches, None):
            sums.add(_keys(model, wanted, rows))
            bar.update(sums.tokens - bar.n)
            if checkpoint is not None:
                checkpoint.save_if_due(sums)
    if not sums.tokens:
        raise DataError("no texts to measure second moments on; give a file that holds some")
    return {
        n: from_matrix(n, total / sums.tokens, sums.tokens) for n, total in sums.by_layer.items()
    }


def _keys(
    model: "LoadedModel", layers: Sequence[int], rows: Sequence[Sequence[int]]
) -> dict[int, torch.Tensor]:
    """The keys `[tokens, d_key]` of all tokens of some rows, by layer; deeper blocks do not run."""

    def run(some: Sequence[Sequence[int]]) -> dict[int, torch.Tensor]:
        batch = pad(some, model.pad_id, "right", model.device)
        with ExitStack() as stack:
            seen = {
                layer: stack.enter_context(
                    hooks.recording(model.parts.down(layer), stop=layer == max(layers))
                )
                for layer in layers
            }
            model.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
        real = batch.mask.bool()
        return {layer: one.input[real] for layer, one in seen.items() if one.input is not None}

    parts = [part for _, part in in_halves(run, rows)]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def _rows(model: "LoadedModel", texts: Iterable[str], tokens: int) -> Iterator[list[int]]:
    """The ids of each text, cut at the model's positions, until together they are `tokens`.

    The last row is cut to the budget: in a causal model no key depends on what comes behind it.
    """
    longest = min(model.max_positions, BATCH_TOKENS)
    for text in texts:
        row = model.tokenizer(text)["input_ids"][: min(longest, tokens)]
        if row:
            yield row
        tokens -= len(row)
        if tokens <= 0:
            return


def _batches(rows: Iterable[list[int]]) -> Iterator[list[list[int]]]:
    """Rows in batches of at most `BATCH_TOKENS`, padding counted; like lengths stand together.

    Rows change places only inside windows of neighbours, so that a corpus need not fit in memory.
    """
    for window in _windows(rows):
        batch: list[list[int]] = []
        for row in sorted(window, key=len, reverse=True):
            if batch and (len(batch) + 1) * len(batch[0]) > BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(row)
        yield batch


def _windows(rows: Iterable[list[int]]) -> Iterator[list[list[int]]]:
    """Neighbouring rows, just enough of them for `WINDOW_TOKENS`."""
    window: list[list[int]] = []
    tokens = 0
    for row in rows:
        window.append(row)
        tokens += len(row)
        if tokens >= WINDOW_TOKENS:
            yield window
            window, tokens = [], 0
    if window:
        yield window


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


def load_for(model: "LoadedModel", layer: int, path: Path) -> SecondMoment:
    """Read the second moment of a model's layer; `DataError` where its keys have another width."""
    moment = load(path)
    name = model.parts.down_weight(layer)
    width = model.model.get_parameter(name).shape[0 if stores_transposed(model.model, name) else 1]
    if len(moment.matrix) != width:
        raise DataError(
            f"{path} is of keys with {len(moment.matrix)} numbers, but those of layer {layer} of "
            f"{model.name!r} have {width}; give the statistics of this model, or delete the file"
        )
    return moment


def run(job: "MomentJob", folder: Path, seconds: float = CHECKPOINT_SECONDS) -> None:
    """Write the second moment of each layer that a job asks for, measured or as published.

    Beside the folder, the sums of a measurement are kept every so many `seconds`; a run that was
    killed goes on from there.
    """
    about = as_metadata(of_job(job))
    checkpoint = _checkpoint(job, folder, seconds)
    moments = _measured(job, checkpoint) if job.published is None else _published(job)
    for layer, moment in moments.items():
        save(moment, paths.moment(folder, layer), about | {"made_from": job.source(layer)})
    checkpoint.remove()


def _published(job: "MomentJob") -> dict[int, SecondMoment]:
    from editcore.keyvalue import moment_npz

    return {layer: moment_npz.read(Path(job.source(layer)), layer) for layer in job.layers}


def _measured(job: "MomentJob", checkpoint: Checkpoint) -> dict[int, SecondMoment]:
    from editcore.datasets.readers import read_texts
    from editcore.models.loading import load_spec

    assert job.texts is not None
    texts = read_texts(job.texts.path, None)
    model = load_spec(job.model)
    return measure(model, job.layers, texts, job.texts.tokens, checkpoint)


def _checkpoint(job: "MomentJob", folder: Path, seconds: float) -> Checkpoint:
    """Beside the folder, which the workflow empties before each try; bound to job and files."""
    files = [*map(Path, job.sources), *preflight.model_files(job.model.source)]
    stamps = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    made_from = [job.model_dump(mode="json"), stamps, versions(), BATCH_TOKENS, WINDOW_TOKENS]
    path = folder.with_name(f"{folder.name}.checkpoint.safetensors")
    return Checkpoint(path, json.dumps(made_from), seconds)
