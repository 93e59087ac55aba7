"""The training loss, c_e · NLL at the paraphrases + c_loc · KL(before ‖ after) at the neighbours.

Mitchell et al. 2022, eq. 4. No weight is changed: each row of a pass gets the change of its edit
at the edited maps, and gradients flow into it.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from editcore.toolkit import (
    Activations,
    Added,
    LoadedModel,
    ScoredRows,
    StartPoint,
    TargetRow,
    TokenFactors,
    overlaying,
    recording_activations,
    run_from,
    token_factors,
)
from editcore_mend.examples import Example
from editcore_mend.sites import Site


@dataclass(frozen=True)
class Losses:
    """The terms of the loss, in nats, and two shares of tokens.

    `edit` is the mean over paraphrases of the new object's mean NLL; `locality` the mean of the KL
    over the tokens of neighbours' objects. `agreement` is the share of the latter at which the
    argmax stays, `hits` the share of the new objects' tokens that are the argmax.
    """

    edit: torch.Tensor
    locality: torch.Tensor
    agreement: float
    hits: float

    @classmethod
    def summed(cls, several: "Sequence[Losses]") -> "Losses":
        """The sum of each, which is the mean over all if each is a share of it."""
        return cls(
            torch.stack([each.edit for each in several]).sum(),
            torch.stack([each.locality for each in several]).sum(),
            sum(each.agreement for each in several),
            sum(each.hits for each in several),
        )


@dataclass(frozen=True)
class Counts:
    """Numbers of paraphrases, of their targets' tokens, and of neighbours' tokens."""

    paraphrases: int
    told: int
    kept: int

    @classmethod
    def summed(cls, several: "Sequence[Counts]") -> "Counts":
        """Those of several poses together."""
        return cls(
            sum(each.paraphrases for each in several),
            sum(each.told for each in several),
            sum(each.kept for each in several),
        )


class Pose:
    """A batch of examples with what the unedited model gives: factors, states, and predictions."""

    def __init__(
        self, model: LoadedModel, sites: Sequence[Site], examples: Sequence[Example]
    ) -> None:
        self._model, self._sites = model, sites
        self._start = StartPoint(min(model.parts.block_of(s.parameter) or 0 for s in sites) - 1)
        self.edits = ScoredRows.of(model, [example.edit for example in examples])
        self.factors: list[TokenFactors] = token_factors(
            model, [site.module for site in sites], self.edits
        )[0]
        self._told = _Asked(model, self._start, [e.paraphrases for e in examples])
        self._kept = _Asked(model, self._start, [e.neighbours for e in examples])
        with torch.no_grad():
            self._before = self._kept.scores(self._kept.hidden({}))
        told, kept = self._told.scored, self._kept.scored
        self.counts = Counts(len(told.rows.ids), len(told.token), len(kept.token))

    def losses(self, changes: Sequence[Added], over: Counts | None = None) -> Losses:
        """The losses with the examples' edits in place; `changes` has one entry per site.

        `over` are the counts of all poses of which this one is a part: its losses are then its
        shares of the means over all.
        """
        over = over or self.counts
        added = dict(zip(self._sites, changes, strict=True))
        hidden = self._told.hidden(added)
        edit = self._told.scored.loss(self._model, hidden).sum() / over.paraphrases
        with torch.no_grad():
            hits = self._told.scores(hidden).argmax(-1) == self._told.scored.token
        after = self._kept.scores(self._kept.hidden(added))
        kl = (self._before.exp() * (self._before - after)).sum(-1)
        same = self._before.argmax(-1) == after.argmax(-1)
        shares = float(same.sum()) / over.kept, float(hits.sum()) / over.told
        return Losses(edit, kl.sum() / over.kept, *shares)


class _Asked:
    """Rows of several examples, and the unedited model's states at the block where edits begin."""

    def __init__(
        self, model: LoadedModel, start: StartPoint, lines: Sequence[Sequence[TargetRow]]
    ) -> None:
        self._model, self._start = model, start
        self.scored = ScoredRows.of(model, [each for some in lines for each in some])
        self._edit = torch.tensor(
            [i for i, some in enumerate(lines) for _ in some], device=model.device
        )
        rows = self.scored.rows
        self._activations = Activations()
        if start.layer >= 0:
            with (
                torch.no_grad(),
                recording_activations(model, start, stop=True) as self._activations,
            ):
                model.model.base_model(
                    input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
                )

    def hidden(self, added: Mapping[Site, Added]) -> torch.Tensor:
        """Last hidden states, each row with its example's change in place."""
        with ExitStack() as stack:
            for site, factors in added.items():
                stack.enter_context(overlaying(site.module, factors, self._edit))
            return run_from(self._model, self.scored.rows, self._start, self._activations.states)

    def scores(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities at the scored places."""
        return self.scored.scores(self._model, hidden)
