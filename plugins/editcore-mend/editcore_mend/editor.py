"""The edit itself, one backward pass and the trained network, and the training of the network."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from editcore import DataError, EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    Checkpoint,
    Delta,
    LoadedModel,
    LowRankUpdate,
    ScoredRows,
    TargetRow,
    TrainedParts,
    bucket_by_length,
    combine_deltas,
    target_row,
    token_factors,
    tokens_per_pass,
)
from editcore_mend import sites
from editcore_mend.config import MendConfig
from editcore_mend.network import MendNetwork
from editcore_mend.split import split
from editcore_mend.training import Training

NONFINITE = "the gradient of the edit is not finite; nothing was edited"


class MendEditor(Editor[MendConfig]):
    """MEND: the change of several facts is the sum of their changes, each from its own gradient."""

    def train(
        self, context: EditContext, data: Sequence[Path], checkpoint: Checkpoint
    ) -> TrainedParts:
        """Train the network on the first file of `data`, without the subjects of the others."""
        facts, *exclude = data
        parts = split(facts, exclude, self.config.held_out, context.seed)
        found = Training(context.model, self.config, parts, context.seed).run(checkpoint)
        recipe = self.config.model_dump(mode="json")
        about = {**found.about, "recipe": recipe, "seed": context.seed, "split": parts.case_ids}
        about["flawed"] = {str(case): flaw for case, flaw in parts.flawed.items()}
        return TrainedParts(found.tensors, about)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """The sum of the requests' changes, all computed from the current weights."""
        lines = [_line(context.model, request) for request in requests]
        found = self._results(context, lines)
        if failed := [result for result in found if result.delta is None]:
            return failed[0]
        loss = sum(result.diagnostics["loss"] for result in found) / len(found)
        changes = [result.delta for result in found if result.delta is not None]
        return EditResult(combine_deltas(changes), diagnostics={"loss": loss})

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Each request's own change, many in one backward pass."""
        posed = [_posed(context.model, request) for request in requests]
        found = iter(
            self._results(context, [each for each in posed if isinstance(each, TargetRow)])
        )
        for each in posed:
            yield next(found) if isinstance(each, TargetRow) else EditResult(None, each)

    def _results(self, context: EditContext, lines: Sequence[TargetRow]) -> list[EditResult]:
        places = sites.find(context.model, self.config.layers)
        network = _network(context, places)
        found: dict[int, EditResult] = {}
        lengths = [len(each.ids) for each in lines]
        # A backward pass needs memory for activations that a forward pass alone does not keep.
        for batch in bucket_by_length(lengths, max(1, tokens_per_pass(context.model) // 4)):
            made = self._batch(context.model, network, places, [lines[i] for i in batch])
            found |= zip(batch, made, strict=True)
        return [found[i] for i in range(len(lines))]

    @torch.no_grad()
    def _batch(
        self,
        model: LoadedModel,
        network: MendNetwork,
        places: Sequence[sites.Site],
        lines: Sequence[TargetRow],
    ) -> list[EditResult]:
        factors, losses = token_factors(
            model, [place.module for place in places], ScoredRows.of(model, lines)
        )
        found = network(factors)
        changes = [
            {
                site.parameter: LowRankUpdate(
                    self.config.scale * change.outputs[row][:, each.counts[row]],
                    change.inputs[row][:, each.counts[row]],
                )
                for site, change, each in zip(places, found, factors, strict=True)
            }
            for row in range(len(lines))
        ]
        return [
            _result(Delta(updates), loss)
            for updates, loss in zip(changes, losses.tolist(), strict=True)
        ]


def _result(delta: Delta, loss: float) -> EditResult:
    diagnostics = {"loss": loss}
    if not delta.finite():
        return EditResult(None, NONFINITE, diagnostics)
    return EditResult(delta, diagnostics=diagnostics)


def _line(model: LoadedModel, request: EditRequest) -> TargetRow:
    return target_row(model, request.text, request.target_new)


def _posed(model: LoadedModel, request: EditRequest) -> TargetRow | str:
    try:
        return _line(model, request)
    except RequestError as error:
        return str(error)


def _network(context: EditContext, places: Sequence[sites.Site]) -> MendNetwork:
    """The trained network; `DataError` if there is none, or its tensors do not fit."""
    if context.trained is None:
        raise DataError("MEND edits with a trained network; run `editcore train` to make it")
    tensors = dict(context.trained.tensors)
    try:
        rank = len(tensors["networks.0.hidden.into"])
        network = MendNetwork(places, rank, 1.0, 0)
        network.load_state_dict(tensors)
    except (KeyError, RuntimeError) as error:
        raise DataError(
            f"the trained file was not made by MEND for these layers ({error}); train again"
        ) from error
    return network.to(context.model.device).requires_grad_(False)
