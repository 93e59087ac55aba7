"""The edit itself: keys and gradients of all answer tokens, and one ridge solve per map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from editcore import EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    Delta,
    DenseUpdate,
    LoadedModel,
    LowRankUpdate,
    ScoredRows,
    TargetRow,
    Update,
    bucket_by_length,
    target_row,
    token_factors,
    tokens_per_search,
)
from editcore_ultraedit.config import UltraEditConfig
from editcore_ultraedit.sites import Site, find
from editcore_ultraedit.statistics import Running

NONFINITE = "the gradients or the ridge solve are not finite; nothing was edited"
TOO_FEW = (
    "UltraEdit normalises gradients over all rows so far, and there is only one; edit more facts "
    "at once or more layers, or use a target of several tokens"
)


@dataclass(frozen=True)
class Rows:
    """Keys `[answer token, d_in]` and gradients `[answer token, d_out]` at one map."""

    keys: Tensor
    gradients: Tensor


class UltraEditEditor(Editor[UltraEditConfig]):
    """UltraEdit; its state is the running statistics of each shape of maps."""

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """One change for all facts; `RequestError` if one of them cannot be tokenised."""
        if not requests:
            raise RequestError("there is nothing to edit; give at least one request")
        model, sites = context.model, find(context.model, self.config)
        facts = [target_row(model, r.text, r.target_new) for r in requests]
        found, losses = seen(model, sites, facts)
        turn = [self._chunked(rows, facts) for rows in found]
        statistics = self._extended(restored(model, sites, state), sites, turn)
        if any(float(each.count) < 2 for each in statistics.values()):
            return EditResult(None, TOO_FEW)
        delta = Delta(
            {
                site.parameter: self._update(joined(chunks), statistics[site.statistics])
                for site, chunks in zip(sites, turn, strict=True)
            }
        )
        diagnostics = {"steps": 1.0, "loss": float(losses.mean())}
        if not delta.finite():
            return EditResult(None, NONFINITE, diagnostics)
        return EditResult(delta, diagnostics=diagnostics, state=stored(statistics))

    def _chunked(self, rows: Sequence[Rows], facts: Sequence[TargetRow]) -> list[Rows]:
        """The rows of the facts that share a loss; each has its own unless chunks are asked for.

        The gradients of a chunk are those of the mean loss over all its answer tokens.
        """
        size, order = self.config.released_chunk or 1, list(range(len(facts)))
        if self.config.released_chunk is not None:
            order.sort(key=lambda i: -len(facts[i].ids))
        chunks = []
        for start in range(0, len(order), size):
            chunk = [rows[i] for i in order[start : start + size]]
            total = sum(len(each.keys) for each in chunk)
            weighed = [Rows(r.keys, len(r.keys) / total * r.gradients) for r in chunk]
            chunks.append(joined(weighed))
        return chunks

    def _extended(
        self,
        statistics: dict[str, Running],
        sites: Sequence[Site],
        turn: Sequence[Sequence[Rows]],
    ) -> dict[str, Running]:
        """The statistics with the rows of a turn, chunk by chunk."""
        for site, chunks in zip(sites, turn, strict=True):
            for rows in chunks:
                statistics[site.statistics] = statistics[site.statistics].extended(
                    torch.cat([rows.keys, rows.gradients], 1),
                    as_released=self.config.released_chunk is not None,
                )
        return statistics

    def _update(self, rows: Rows, statistics: Running) -> Update:
        """The ridge regression of the wanted changes of a map's output on its keys."""
        width = rows.keys.shape[1]
        normalised = statistics.normalised(torch.cat([rows.keys, rows.gradients], 1))
        lengths = normalised[:, :width].square().sum(1, keepdim=True)
        wanted = -self.config.learning_rate * lengths * normalised[:, width:]
        return ridge(rows.keys, wanted)


def joined(several: Sequence[Rows]) -> Rows:
    """The rows of several facts or chunks."""
    return Rows(torch.cat([r.keys for r in several]), torch.cat([r.gradients for r in several]))


def ridge(keys: Tensor, wanted: Tensor) -> Update:
    """The ΔW that minimises ‖K ΔWᵀ − V‖² + ‖ΔW‖² for keys `[n, d_in]` and changes `[n, d_out]`.

    As factors if there are fewer keys than rows and columns of ΔW. The solve is in float64.
    """
    precise, dtype = keys.double(), keys.dtype
    few = len(keys) < min(keys.shape[1], wanted.shape[1])
    gram = precise @ precise.T if few else precise.T @ precise
    gram += torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    if few:
        inputs = torch.linalg.solve(gram, precise).T
        return LowRankUpdate(wanted.T.to(dtype).contiguous(), inputs.to(dtype).contiguous())
    return DenseUpdate(torch.linalg.solve(gram, precise.T @ wanted).T.to(dtype).contiguous())


def seen(
    model: LoadedModel, sites: Sequence[Site], facts: Sequence[TargetRow]
) -> tuple[list[list[Rows]], Tensor]:
    """At each site the rows of each fact, with the gradients of its own mean loss; the losses."""
    found: list[list[Rows | None]] = [[None] * len(facts) for _ in sites]
    losses = torch.zeros(len(facts), dtype=torch.float64)
    budget = tokens_per_search(model, min(site.layer for site in sites))
    for bucket in bucket_by_length([len(fact.ids) for fact in facts], budget):
        scored = ScoredRows.of(model, [facts[i] for i in bucket])
        factors, nll = token_factors(model, [site.module for site in sites], scored)
        losses[bucket] = nll.double().cpu()
        for site_rows, each in zip(found, factors, strict=True):
            keys = each.inputs[scored.row, scored.column]
            gradients = each.deltas[scored.row, scored.column]
            for row, fact in enumerate(bucket):
                own = scored.row == row
                site_rows[fact] = Rows(keys[own], gradients[own])
    return [[rows for rows in each if rows is not None] for each in found], losses


def stored(statistics: Mapping[str, Running]) -> dict[str, Tensor]:
    """The statistics as the tensors of a state."""
    return {
        f"{shape}.{part}": tensor
        for shape, running in statistics.items()
        for part, tensor in vars(running).items()
    }


def restored(
    model: LoadedModel, sites: Sequence[Site], state: Mapping[str, Tensor] | None
) -> dict[str, Running]:
    """The statistics of each shape, from a state or empty."""
    if state is None:
        return {s.statistics: Running.empty(sum(s.shape), model.device) for s in sites}
    parts = ("count", "mean", "m2")
    shapes = dict.fromkeys(site.statistics for site in sites)
    return {
        shape: Running(*(state[f"{shape}.{part}"].to(model.device) for part in parts))
        for shape in shapes
    }
