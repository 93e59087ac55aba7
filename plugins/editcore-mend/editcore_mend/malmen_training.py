"""Trains MALMEN's network: one change for a batch, differentiated in two steps.

The loss is differentiated with respect to ΔW, in passes of the model over parts of the batch; then
the gradient is pulled back through the solve and the network (Tan et al. 2024). So memory does not
grow with the batch, beyond its keys and gradients.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editcore.toolkit import Added, LoadedModel, tokens_per_search
from editcore_mend.examples import Example
from editcore_mend.losses import Counts, Losses, Pose
from editcore_mend.malmen_network import MalmenNetwork, Rows
from editcore_mend.sites import Site
from editcore_mend.training import Training


@dataclass(frozen=True)
class SharedChange(Added):
    """A change `[d_out, d_in]` of a map that is the same for every row."""

    change: Tensor

    def added(self, inputs: Tensor, edit: Tensor) -> Tensor:
        """See `Added.added`."""
        return inputs.to(self.change.dtype) @ self.change.T


class Batch:
    """Examples that one change edits together, posed in parts that fit memory."""

    def __init__(
        self, model: LoadedModel, sites: Sequence[Site], examples: Sequence[Example]
    ) -> None:
        size = _examples_per_part(model, sites, examples)
        self._poses = [
            Pose(model, sites, examples[i : i + size]) for i in range(0, len(examples), size)
        ]
        self._counts = Counts.summed([pose.counts for pose in self._poses])
        edits = [[Rows.of(each, pose.edits) for each in pose.factors] for pose in self._poses]
        self.rows = [
            Rows.joined([rows for part in parts for rows in part])
            for parts in zip(*edits, strict=True)
        ]

    def losses(self, changes: Sequence[Tensor]) -> Iterator[Losses]:
        """For each part, its share of the losses with the changes in place; they sum to the mean.

        `changes` has one ΔW per site.
        """
        added = [SharedChange(change) for change in changes]
        for pose in self._poses:
            yield pose.losses(added, self._counts)


def _examples_per_part(
    model: LoadedModel, sites: Sequence[Site], examples: Sequence[Example]
) -> int:
    """How many examples a pass with gradients has memory for."""
    first = min(model.parts.block_of(site.parameter) or 0 for site in sites)
    tokens = max(_padded_tokens(example) for example in examples)
    return max(1, tokens_per_search(model, first) // tokens)


def _padded_tokens(example: Example) -> int:
    kinds = ((example.edit,), example.paraphrases, example.neighbours)
    return max(len(lines) * max(len(line.ids) for line in lines) for lines in kinds)


class MalmenTraining(Training[MalmenNetwork, Batch]):
    """The gradient is clipped to norm 1, as published."""

    gradient_limit = 1.0
    together = True

    def _pose(self, examples: Sequence[Example]) -> Batch:
        return Batch(self._model, self._sites, examples)

    def _see(self, posed: Batch) -> None:
        self.network.see(posed.rows)

    def _losses(self, posed: Batch) -> Losses:
        changes = [fit.change() for fit in self.network.fits(posed.rows)]
        return Losses.summed(list(posed.losses(changes)))

    def _differentiate(self, posed: Batch) -> None:
        fits = self.network.fits(posed.rows)
        changes = [fit.change().requires_grad_() for fit in fits]
        for found in posed.losses(changes):
            self._loss(found).backward()
        for site, (rows, fit, change) in enumerate(zip(posed.rows, fits, changes, strict=True)):
            gradient = torch.zeros_like(change) if change.grad is None else change.grad
            self.network.pull_back(site, rows, fit, gradient)
