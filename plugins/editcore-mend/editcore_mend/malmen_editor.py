"""MALMEN's edit: keys and gradients of all facts' target tokens, and one solve per map."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from editcore import EditContext, EditRequest, EditResult
from editcore.toolkit import Delta, LoadedModel, TargetRow
from editcore_mend.config import MalmenConfig
from editcore_mend.editor import NetworkEditor, passes, result, target_rows
from editcore_mend.malmen_network import MalmenNetwork, Rows
from editcore_mend.malmen_training import MalmenTraining
from editcore_mend.sites import Site
from editcore_mend.split import Split


@dataclass(frozen=True)
class Seen:
    """What a backward pass found of one fact: its rows at every site, and its loss."""

    rows: tuple[Rows, ...]
    loss: float


class MalmenEditor(NetworkEditor[MalmenConfig, MalmenNetwork]):
    """MALMEN: one ridge regression per map fits the differences of all facts' target tokens."""

    title = "MALMEN"

    def _untrained(self, places: Sequence[Site], rank: int, seed: int) -> MalmenNetwork:
        step, ridge = self.config.initial_step, self.config.initial_ridge
        return MalmenNetwork(places, rank, step, seed, ridge)

    def _training(
        self, model: LoadedModel, network: MalmenNetwork, parts: Split, seed: int
    ) -> MalmenTraining:
        return MalmenTraining(model, self.config, network, parts, seed)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """One change for all requests, computed from the current weights."""
        lines = target_rows(context.model, requests)
        places = self._places(context.model)
        network = self._network(context, places)
        return self._together(network, places, _seen(context.model, places, lines))

    def _results(self, context: EditContext, lines: Sequence[TargetRow]) -> list[EditResult]:
        places = self._places(context.model)
        network = self._network(context, places)
        seen = _seen(context.model, places, lines)
        return [self._together(network, places, [each]) for each in seen]

    def _together(
        self, network: MalmenNetwork, places: Sequence[Site], facts: Sequence[Seen]
    ) -> EditResult:
        """The change that edits some facts together."""
        rows = [Rows.joined(several) for several in zip(*(f.rows for f in facts), strict=True)]
        fits = network.fits(rows)
        updates = {
            site.parameter: fit.update(self.config.scale)
            for site, fit in zip(places, fits, strict=True)
        }
        return result(Delta(updates), sum(fact.loss for fact in facts) / len(facts))


@torch.no_grad()
def _seen(model: LoadedModel, places: Sequence[Site], lines: Sequence[TargetRow]) -> list[Seen]:
    found: dict[int, Seen] = {}
    for batch, scored, factors, losses in passes(model, places, lines):
        each_fact = zip(*(Rows.of(each, scored) for each in factors), strict=True)
        facts = (Seen(rows, loss) for rows, loss in zip(each_fact, losses, strict=True))
        found |= zip(batch, facts, strict=True)
    return [found[i] for i in range(len(lines))]
