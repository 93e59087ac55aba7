"""The edit by a trained network, one backward pass and the network, and the network's training."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch

from editcore import DataError, EditContext, Editor, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    Checkpoint,
    Delta,
    LoadedModel,
    LowRankUpdate,
    ScoredRows,
    TargetRow,
    TokenFactors,
    TrainedParts,
    bucket_by_length,
    combine_deltas,
    target_row,
    token_factors,
    tokens_per_pass,
)
from editcore_mend import sites
from editcore_mend.config import MendConfig, NetworkConfig
from editcore_mend.network import MendNetwork, NetworkT
from editcore_mend.split import Split, split
from editcore_mend.training import MendTraining, Training

NONFINITE = "the gradient of the edit is not finite; nothing was edited"
ConfigT = TypeVar("ConfigT", bound=NetworkConfig)


class NetworkEditor(Editor[ConfigT], ABC, Generic[ConfigT, NetworkT]):
    """What MEND and MALMEN share: the training, and facts that cannot be posed."""

    title: ClassVar[str]

    @abstractmethod
    def _untrained(self, places: Sequence[sites.Site], rank: int, seed: int) -> NetworkT:
        """A network for these maps as it is before training."""

    @abstractmethod
    def _training(
        self, model: LoadedModel, network: NetworkT, parts: Split, seed: int
    ) -> Training[NetworkT, Any]:
        """The training of a network."""

    @abstractmethod
    def _results(self, context: EditContext, lines: Sequence[TargetRow]) -> list[EditResult]:
        """Each fact's own change."""

    def train(
        self, context: EditContext, data: Sequence[Path], checkpoint: Checkpoint
    ) -> TrainedParts:
        """Train the network on the first file of `data`, without the subjects of the others.

        Raises `DataError` if there is none.
        """
        if not data:
            raise DataError(f"{self.title} has no file of facts to train on; plan the study again")
        facts, *exclude = data
        parts = split(facts, exclude, self.config.held_out, context.seed).posed(context.model)
        network = self._untrained(self._places(context.model), self.config.rank, context.seed)
        found = self._training(context.model, network, parts, context.seed).run(checkpoint)
        recipe = self.config.model_dump(mode="json")
        about = {**found.about, "recipe": recipe, "seed": context.seed, "split": parts.case_ids}
        about["flawed"] = {str(case): flaw for case, flaw in parts.flawed.items()}
        return TrainedParts(found.tensors, about)

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

    def _places(self, model: LoadedModel) -> tuple[sites.Site, ...]:
        return sites.find(model, self.config.layers, self.config.only_down)

    def _network(self, context: EditContext, places: Sequence[sites.Site]) -> NetworkT:
        """The trained network; `DataError` if there is none, or its tensors do not fit."""
        if context.trained is None:
            raise DataError(
                f"{self.title} edits with a trained network; run `editcore train` to make it"
            )
        tensors = dict(context.trained.tensors)
        try:
            network = self._untrained(places, len(tensors["networks.0.hidden.into"]), 0)
            network.load_state_dict(tensors)
        except (KeyError, RuntimeError) as error:
            raise DataError(
                f"the trained file was not made by {self.title} for these layers ({error}); "
                "train again"
            ) from error
        return network.to(context.model.device).requires_grad_(False)


class MendEditor(NetworkEditor[MendConfig, MendNetwork]):
    """MEND: the change of several facts is the sum of their changes, each from its own gradient."""

    title = "MEND"

    def _untrained(self, places: Sequence[sites.Site], rank: int, seed: int) -> MendNetwork:
        return MendNetwork(places, rank, self.config.initial_step, seed)

    def _training(
        self, model: LoadedModel, network: MendNetwork, parts: Split, seed: int
    ) -> MendTraining:
        return MendTraining(model, self.config, network, parts, seed)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """The sum of the requests' changes, all computed from the current weights."""
        found = self._results(context, target_rows(context.model, requests))
        if failed := [result for result in found if result.delta is None]:
            return failed[0]
        loss = sum(result.diagnostics["loss"] for result in found) / len(found)
        changes = [result.delta for result in found if result.delta is not None]
        return EditResult(combine_deltas(changes), diagnostics={"loss": loss})

    @torch.no_grad()
    def _results(self, context: EditContext, lines: Sequence[TargetRow]) -> list[EditResult]:
        places = self._places(context.model)
        network = self._network(context, places)
        found: dict[int, EditResult] = {}
        for batch, _, factors, losses in passes(context.model, places, lines):
            changes = network(factors)
            for row, (line, loss) in enumerate(zip(batch, losses, strict=True)):
                delta = Delta(
                    {
                        site.parameter: LowRankUpdate(
                            self.config.scale * change.outputs[row][:, each.counts[row]],
                            change.inputs[row][:, each.counts[row]],
                        )
                        for site, change, each in zip(places, changes, factors, strict=True)
                    }
                )
                found[line] = result(delta, loss)
        return [found[i] for i in range(len(lines))]


def target_rows(model: LoadedModel, requests: Sequence[EditRequest]) -> list[TargetRow]:
    """The facts in tokens; `RequestError` if there are none, or one cannot be tokenised."""
    if not requests:
        raise RequestError("there is nothing to edit; give at least one request")
    return [_line(model, request) for request in requests]


def passes(
    model: LoadedModel, places: Sequence[sites.Site], lines: Sequence[TargetRow]
) -> Iterator[tuple[list[int], ScoredRows, list[TokenFactors], list[float]]]:
    """Backward passes over facts of similar length.

    Each gives the facts' indices, their rows, the factors at every site, and the facts' losses.
    """
    lengths = [len(each.ids) for each in lines]
    modules = [place.module for place in places]
    # A backward pass needs memory for activations that a forward pass alone does not keep.
    for batch in bucket_by_length(lengths, max(1, tokens_per_pass(model) // 4)):
        scored = ScoredRows.of(model, [lines[i] for i in batch])
        factors, losses = token_factors(model, modules, scored)
        yield batch, scored, factors, losses.tolist()


def result(delta: Delta, loss: float) -> EditResult:
    """The result with a change, or its status if that is not finite."""
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
