"""Measures second moments: sums of k kᵀ over the tokens of texts, resumable from a checkpoint."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.errors import DataError, reading
from editcore.keyvalue.estimation.movement import PROBE_TOKENS, Movement
from editcore.keyvalue.second_moment import SecondMoment
from editcore.models import hooks
from editcore.models.batch_size import in_halves
from editcore.models.tokenization import pad_rows
from editcore.numbers import plural
from editcore.progress import note, progress_bar
from editcore.records import checkpoint

if TYPE_CHECKING:
    from editcore.models.loading import LoadedModel

BATCH_TOKENS = 8192
WINDOW_TOKENS = 16 * BATCH_TOKENS
# Tokens whose k kᵀ are summed in the keys' own precision, which is several times as fast as float64
# and over so few tokens changes C⁻¹k by no more than the rounding of the keys.
PRODUCT_TOKENS = 4096
# k kᵀ is symmetric: of each of these groups of columns, the rows above its first are left out.
GROUPS = 8
# The parts of a checkpoint: sums, and C⁻¹k of the probes.
SUMS, SOLVED = "sums", "solved"


@dataclass
class MomentSums:
    """Sums of k kᵀ in float64 by layer, of which the lower triangle counts; tokens and batches."""

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
                for first in range(0, width, -(-width // GROUPS)):
                    columns = slice(first, first - (-width // GROUPS))
                    product = some[:, first:].T @ some[:, columns]
                    self.by_layer[layer][first:, columns] += product.to(place)
        self.tokens += len(next(iter(keys.values())))
        self.batches += 1

    def mean(self, layer: int) -> Float64[Tensor, "d_key d_key"]:
        """C of a layer over the tokens so far."""
        lower = self.by_layer[layer].tril()
        return (lower + lower.tril(-1).T) / self.tokens


def _exact_place(device: torch.device) -> torch.device:
    """A device that has float64: the keys' own, or the CPU for an Apple GPU."""
    return torch.device("cpu") if device.type == "mps" else device


class MomentCheckpoint(checkpoint.Checkpoint):
    """The sums of an unfinished measurement, in float64: a resumed one ends with the same bytes."""

    def load(self, device: torch.device, movement: Movement | None = None) -> MomentSums:
        """The saved sums; empty ones if there are none, or those of another measurement.

        `movement` is given what the last check found.
        """
        kept = self.read()
        if kept is None:
            return MomentSums()
        place = _exact_place(device)
        try:
            with reading(self.path, "sums of keys"):
                sums = {int(layer): total.to(place) for layer, total in kept.part(SUMS).items()}
                done = MomentSums(sums, kept.state["tokens"], kept.state["batches"])
                if movement is not None:
                    solved = {int(layer): rows for layer, rows in kept.part(SOLVED).items()}
                    movement.resume(solved, **kept.state["movement"])
                return done
        except DataError as error:
            self._refused(error)
            return MomentSums()

    def save_if_due(self, sums: MomentSums, movement: Movement | None = None) -> None:
        """Write the sums if the last write was long enough ago."""
        done = {
            "tokens": sums.tokens,
            "batches": sums.batches,
            "movement": movement.state if movement is not None else None,
        }
        by_layer = {SUMS: sums.by_layer, SOLVED: movement.solved if movement is not None else {}}
        parts = {name: {str(n): t for n, t in of.items()} for name, of in by_layer.items()}
        self.write_if_due(lambda: checkpoint.Progress.of(parts, done))


@torch.no_grad()
def measure_moments(
    model: "LoadedModel",
    layers: Sequence[int],
    texts: Iterable[str],
    tokens: int,
    checkpoint: MomentCheckpoint | None = None,
    tolerance: float | None = None,
    say: Callable[[str], None] = note,
) -> dict[int, SecondMoment]:
    """The second moments of several layers over the first `tokens` tokens of texts, in one pass.

    Texts longer than the model's positions are cut there, as the papers' code does, or at
    `BATCH_TOKENS`. Which tokens count is decided before batching, so the result depends on texts
    and `tokens` alone. With a `tolerance`, no more texts are read once C⁻¹k moves by less
    (`movement`), and `say` is called with the outcome; texts are taken from `texts` as they are
    needed. With a checkpoint, an interrupted measurement resumes. Raises `DataError` if the texts
    have no tokens.
    """
    wanted = sorted(set(layers))
    sums, movement = _summed(model, wanted, texts, tokens, checkpoint, tolerance)
    if not sums.tokens:
        raise DataError(
            "there are no texts to measure second moments on; give a file that contains some"
        )
    if movement is not None:
        say(movement.sentence(tokens))
    return {n: SecondMoment.from_matrix(n, sums.mean(n), sums.tokens) for n in wanted}


def _summed(
    model: "LoadedModel",
    layers: Sequence[int],
    texts: Iterable[str],
    tokens: int,
    checkpoint: MomentCheckpoint | None,
    tolerance: float | None,
) -> tuple[MomentSums, Movement | None]:
    """The sums over at most `tokens` tokens of texts, and the last check, if there is a tolerance.

    Nothing iterates over `texts` once this has returned, so a bar of theirs is closed.
    """
    rows = _rows(model, texts, tokens)
    movement = None
    if tolerance is not None and (first := _beginning(rows)):
        movement = Movement.of(tolerance, keys_of(model, layers, first))
        rows = chain(first, rows)
    sums = MomentSums() if checkpoint is None else checkpoint.load(model.device, movement)
    batches = _batches(rows, movement.counts() if movement else iter(()))
    title = f"second moments of {plural(len(layers), 'layer')}"
    with progress_bar(total=tokens, initial=sums.tokens, unit="token", title=title) as bar:
        for batch, checked in islice(batches, sums.batches, None):
            sums.add(keys_of(model, layers, batch))
            bar.update(sums.tokens - bar.n)
            if checked and movement is not None:
                movement.check(sums.mean, sums.tokens)
                if movement.settled:
                    break
            if checkpoint is not None:
                checkpoint.save_if_due(sums, movement)
    return sums, movement


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
    if len(parts) == 1:
        return parts[0]
    return {layer: torch.cat([part[layer] for part in parts]) for layer in layers}


def texts_within(model: "LoadedModel", texts: Iterable[str], tokens: int) -> Iterator[str]:
    """The texts that `measure_moments` reads: the first that are `tokens` tokens together."""
    return (text for text, _ in _counted(model, texts, tokens))


def batches_within(
    model: "LoadedModel", texts: Iterable[str], tokens: int
) -> Iterator[list[list[int]]]:
    """The batches in which `measure_moments` reads the same texts without a tolerance."""
    return (batch for batch, _ in _batches(_rows(model, texts, tokens), iter(())))


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


def _beginning(rows: Iterator[list[int]]) -> list[list[int]]:
    """The first rows, with `PROBE_TOKENS` tokens together; they are taken from `rows`."""
    first: list[list[int]] = []
    for row in rows:
        first.append(row)
        if sum(map(len, first)) >= PROBE_TOKENS:
            break
    return first


def _batches(
    rows: Iterable[list[int]], counts: Iterator[int]
) -> Iterator[tuple[list[list[int]], bool]]:
    """Rows in batches of at most `BATCH_TOKENS`, including padding; similar lengths are together.

    Each with whether all rows up to one of the `counts` of tokens, and no others, have been read.
    Rows are sorted only within windows of neighbours, so that a corpus need not fit in memory.
    """
    for window, counted in _windows(rows, counts):
        batch: list[list[int]] = []
        for row in sorted(window, key=len, reverse=True):
            if batch and (len(batch) + 1) * len(batch[0]) > BATCH_TOKENS:
                yield batch, False
                batch = []
            batch.append(row)
        yield batch, counted


def _windows(
    rows: Iterable[list[int]], counts: Iterator[int]
) -> Iterator[tuple[list[list[int]], bool]]:
    """Neighbouring rows, just enough of them for `WINDOW_TOKENS` or for the next of the counts."""
    window: list[list[int]] = []
    tokens = read = 0
    due = next(counts, math.inf)
    for row in rows:
        window.append(row)
        tokens += len(row)
        read += len(row)
        if read >= due or tokens >= WINDOW_TOKENS:
            yield window, read >= due
            window, tokens = [], 0
        while read >= due:
            due = next(counts, math.inf)
    if window:
        yield window, False
