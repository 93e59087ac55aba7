"""The quantities that a sequence's job asks for, of the model as its edits leave it."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.collapse.running_text import RunningText
from editcore.evaluation.perplexity import TokenizedTexts
from editcore.models.anatomy import LINEAR
from editcore.models.loading import LoadedModel
from editcore.requests import EditRequest
from editcore.runs.sequence.telemetry.keys import FactKeys, KeyHistory
from editcore.runs.sequence.telemetry.matrices import OF_ONE, Matrix, Unedited
from editcore.runs.sequence.telemetry.text import Generation, residual_shares
from editcore.updates.cumulative_delta import CumulativeDelta
from editcore.updates.patch import Patch

ON_TEXT = ("text_change", "value_norm")
OF_KEYS: Mapping[str, Callable[[FactKeys], float]] = MappingProxyType(
    {"key_cosine": FactKeys.cosine, "key_rank": FactKeys.rank}
)
READS_KEYS = ("value_norm", "key_drift", *OF_KEYS)


@dataclass(frozen=True)
class Telemetry:
    """The quantities `asked` for (`editcore.config.telemetry`), of one model.

    `text` has what the linear maps of the edited layers read before the first edit, `shares` the
    unedited model's residual share by layer, and `entropy` that of its continuations.
    """

    model: LoadedModel
    asked: Collection[str]
    text: RunningText
    shares: Mapping[int, float]
    generation: Generation | None
    entropy: float
    _unedited: dict[str, Unedited] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: LoadedModel,
        asked: Collection[str],
        texts: TokenizedTexts,
        layers: Collection[int],
    ) -> "Telemetry":
        """Measure the unedited model; `layers` are those that may be edited, all if empty."""
        text = RunningText(model, texts.batches)
        blocks = sorted(layers) or range(model.parts.depth)
        if any(name in asked for name in ON_TEXT):
            text.read([path for layer in blocks for path in _linear_maps(model, layer)])
        shares = residual_shares(model, blocks, text.rows()) if "residual_share" in asked else {}
        generation = Generation.of(model, texts) if "generation_entropy" in asked else None
        entropy = generation.entropy() if generation else math.nan
        return cls(model, asked, text, shares, generation, entropy)

    def note(
        self, history: KeyHistory, changes: CumulativeDelta, facts: Sequence[EditRequest]
    ) -> None:
        """Add the keys of the facts that were edited last to the history, if any are needed."""
        if any(name in self.asked for name in READS_KEYS):
            matrices = {path: now for path, (_, now) in self._edited(changes).items()}
            history.add(self.model, matrices, facts)

    @torch.no_grad()
    def now(
        self, changes: CumulativeDelta, history: KeyHistory, patch: Patch | None = None
    ) -> dict[str, float]:
        """The quantities by name; without those that the change so far does not have.

        A quantity that cannot be computed, since a weight is not finite, is inf. With a `patch`,
        the model is read under it.
        """
        found: dict[str, float] = {}
        for path, (before, now) in self._edited(changes).items():
            for name, value in self._of_matrix(path, before, now, history.at(path)):
                found[name] = max(value, found.get(name, -math.inf))
        with patch.applied(self.model.frozen.model) if patch else nullcontext():
            found |= self._of_text(changes)
        return {name: found[name] for name in self.asked if name in found}

    def _of_matrix(
        self, path: str, before: Unedited, now: Matrix, keys: FactKeys | None
    ) -> Iterable[tuple[str, float]]:
        read = (now,) if keys is None else (now, keys.keys)
        sound = all(bool(each.isfinite().all()) for each in read)
        measures = {name: partial(before.ratio, name, now) for name in OF_ONE}
        measures["weight_change"] = partial(before.change, now)
        if (seen := self.text.known(path)) is not None:
            measures["text_change"] = partial(before.change_on, seen.inputs, now)
        if keys is not None:
            measures["key_drift"] = partial(keys.drift, now)
            measures |= {name: partial(of, keys) for name, of in OF_KEYS.items()}
        if keys is not None and seen is not None:
            measures["value_norm"] = partial(keys.recent_size, relative_to=float(seen.sizes.mean()))
        for name, measure in measures.items():
            if name in self.asked:
                yield name, _or_infinite(measure()) if sound else math.inf

    def _of_text(self, changes: CumulativeDelta) -> dict[str, float]:
        found = {}
        edited = [self.model.parts.block_of(name) for name in changes.parameters]
        layer = max((block for block in edited if block is not None), default=-1)
        if layer in self.shares:
            share = residual_shares(self.model, [layer], self.text.rows())[layer]
            found["residual_share"] = _or_infinite(share / self.shares[layer])
        if self.generation and self.entropy:
            found["generation_entropy"] = self.generation.entropy() / self.entropy
        return found

    def _edited(self, changes: CumulativeDelta) -> dict[str, tuple[Unedited, Matrix]]:
        """Each changed weight of a linear map in a block, before and now, by the map's path."""
        found: dict[str, tuple[Unedited, Float[Tensor, "d_out d_in"]]] = {}
        for name in changes.parameters:
            path, _, kind = name.rpartition(".")
            if kind == "weight" and self.text.covers(name):
                before, now = changes.matrix(name)
                found[path] = self._unedited.setdefault(path, Unedited(before)), now
        return found


def _linear_maps(model: LoadedModel, layer: int) -> list[str]:
    """The paths of the linear maps in a block."""
    block = model.anatomy.path(layer, "")
    named = model.parts.block(layer).named_modules()
    return [f"{block}{path}" for path, module in named if isinstance(module, LINEAR)]


def _or_infinite(value: float) -> float:
    return math.inf if math.isnan(value) else value
