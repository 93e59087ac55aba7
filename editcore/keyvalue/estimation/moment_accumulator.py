"""Measures second moments: sums of k kᵀ over the tokens of texts, resumable from a checkpoint."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.errors import DataError, reading
from editcore.keyvalue.second_moment import SecondMoment
from editcore.models import hooks
from editcore.models.batch_size import in_halves
from editcore.models.tokenization import pad_rows
from editcore.progress import progress_bar
from editcore.records import checkpoint

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

BATCH_TOKENS = 8192
WINDOW_TOKENS = 16 * BATCH_TOKENS
# Tokens whose k kᵀ are summed in the keys' own precision, which is several times as fast as float64
# and over so few tokens changes C⁻¹k by no more than the rounding of the keys.
PRODUCT_TOKENS = 1024


@dataclass
class MomentSums:
    """Sums of k kᵀ in float64 by layer, with the number of tokens and of batches."""

    by_layer: dict[int, Float64[Tensor, "d_key d_key"]] = field(default_factory=dict)
    tokens: int = 0
    batches: int = 0

    def add(self, keys: Mapping[int, Float[Tensor, "token d_key"]]) -> None:
        """Add one batch: for each layer the keys of the same tokens."""
        for layer, rows in keys.items():
            place, width = _exact_place(rows.device), rows.shape[-1]
            if layer not in self.by_layer:
                zeros = torch.zeros(width, width, dtype=torch.float64, device=place)
                self.by_layer[layer] = zeros
            exact = rows if rows.dtype == torch.float64 else rows.float()
            for some in exact.split(PRODUCT_TOKENS):
                self.by_layer[layer] += (some.T @ some).to(place)
        self.tokens += len(next(iter(keys.values())))
        self.batches += 1


def _exact_place(device: torch.device) -> torch.device:
    """A device that has float64: the keys' own, or the CPU for an Apple GPU."""
    return torch.device("cpu") if device.type == "mps" else device


class MomentCheckpoint(checkpoint.Checkpoint):
    """The sums of an unfinished measurement, in float64: a resumed one ends with the same bytes."""

    def load(self, device: torch.device) -> MomentSums:
        """The saved sums; empty ones if there are none, or those of another measurement."""
        kept = self.read()
        if kept is None:
            return MomentSums()
        place = _exact_place(device)
        try:
            with reading(self.path, "sums of keys"):
                sums = {int(layer): total.to(place) for layer, total in kept.tensors.items()}
                return MomentSums(sums, **kept.state)
        except DataError as error:
            self._refused(error)
            return MomentSums()

    def save_if_due(self, sums: MomentSums) -> None:
        """Write the sums if the last write was long enough ago."""
        done = {"tokens": sums.tokens, "batches": sums.batches}
        tensors = {str(layer): total for layer, total in sums.by_layer.items()}
        self.write_if_due(lambda: checkpoint.Progress(tensors, done))


@torch.no_grad()
def measure_moments(
    model: "LoadedModel",
    layers: Sequence[int],
    texts: Iterable[str],
    tokens: int,
    checkpoint: MomentCheckpoint | None = None,
) -> dict[int, SecondMoment]:
    """The second moments of several layers over the first `tokens` tokens of texts, in one pass.

    Texts longer than the model's positions are cut there, as the papers' code does, or at
    `BATCH_TOKENS`. Which tokens count is decided before batching, so the result depends on texts
    and `tokens` alone. With a checkpoint, an interrupted measurement resumes. Raises `DataError` if
    the texts have no tokens.
    """
    wanted = sorted(set(layers))
    sums = MomentSums() if checkpoint is None else checkpoint.load(model.device)
    batches = _batches(_rows(model, texts, tokens))
    title = f"second moments of {len(wanted)} layers"
    with progress_bar(total=tokens, initial=sums.tokens, unit="token", title=title) as bar:
        for rows in islice(batches, sums.batches, None):
            sums.add(keys_of(model, wanted, rows))
            bar.update(sums.tokens - bar.n)
            if checkpoint is not None:
                checkpoint.save_if_due(sums)
    if not sums.tokens:
        raise DataError(
            "there are no texts to measure second moments on; give a file that contains some"
        )
    return {
        n: SecondMoment.from_matrix(n, total / sums.tokens, sums.tokens)
        for n, total in sums.by_layer.items()
    }


def keys_of(
    model: "LoadedModel", layers: Sequence[int], rows: Sequence[Sequence[int]]
) -> dict[int, Float[Tensor, "token d_key"]]:
    """The keys of all tokens of some rows, by layer; the pass ends at the deepest layer's keys."""

    def run(some: Sequence[Sequence[int]]) -> dict[int, Tensor]:
        batch = pad_rows(some, model.pad_id, "right", model.device)
        with ExitStack() as stack:
            seen = {
                layer: stack.enter_context(
                    hooks.recording_input(model.parts.down(layer), stop=layer == max(layers))
                )
                for layer in layers
            }
            model.model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False)
        real = batch.mask.bool()
        return {layer: one.input[real] for layer, one in seen.items() if one.input is not None}

    parts = [part for _, part in in_halves(run, rows)]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def texts_within(model: "LoadedModel", texts: Iterable[str], tokens: int) -> Iterator[str]:
    """The texts that `measure_moments` reads: the first that are `tokens` tokens together."""
    return (text for text, _ in _counted(model, texts, tokens))


def batches_within(
    model: "LoadedModel", texts: Iterable[str], tokens: int
) -> Iterator[list[list[int]]]:
    """The batches in which `measure_moments` reads the same texts without a tolerance."""
    return _batches(_rows(model, texts, tokens))


def _rows(model: "LoadedModel", texts: Iterable[str], tokens: int) -> Iterator[list[int]]:
    """The ids of the texts that are read."""
    return (row for _, row in _counted(model, texts, tokens))


def _counted(
    model: "LoadedModel", texts: Iterable[str], tokens: int
) -> Iterator[tuple[str, list[int]]]:
    """Each text and its ids, cut at the model's positions, until there are `tokens` in all.

    The last row is cut to that number: in a causal model no key depends on what follows it.
    """
    longest = min(model.max_positions, BATCH_TOKENS)
    for text in texts:
        row = model.tokenizer(text)["input_ids"][: min(longest, tokens)]
        if row:
            yield text, row
        tokens -= len(row)
        if tokens <= 0:
            return


def _batches(rows: Iterable[list[int]]) -> Iterator[list[list[int]]]:
    """Rows in batches of at most `BATCH_TOKENS`, including padding; similar lengths are together.

    Rows are sorted only within windows of neighbours, so that a corpus need not fit in memory.
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
