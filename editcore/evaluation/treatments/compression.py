"""A compression of linear maps, matrix by matrix, and what it leaves of an edit.

Each matrix is compressed by itself, so a compressed edited model differs from the compressed
unedited one only in the matrices that the edit changes: there by c(W + Δ) − c(W).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.errors import ModelError
from editcore.models.anatomy import LINEAR
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel
from editcore.updates.delta import Delta, DenseUpdate, Update


@dataclass(frozen=True)
class Compression:
    """How a weight `[d_out, d_in]` is compressed, in its own dtype.

    The weights of the blocks' linear maps are; with `head`, the head's too if it is not tied to the
    embedding. `rounded_as` names the format of rounded weights; None if they are not rounded.
    """

    of: Callable[[Float[Tensor, "d_out d_in"]], Float[Tensor, "d_out d_in"]]
    head: bool
    rounded_as: str | None = None

    def weights(self, model: LoadedModel) -> list[str]:
        """The names of the weights that are compressed; `ModelError` if one is quantised."""
        found = linear_weights(model, head=self.head)
        for name in found:
            weight = model.model.get_parameter(name)
            if not weight.is_floating_point():
                raise ModelError(
                    f"{name} of model {model.name!r} is quantised ({weight.dtype}), so it cannot "
                    "be rounded or pruned; load the model with floating-point weights"
                )
        return found

    @contextmanager
    def applied(self, model: LoadedModel) -> Iterator[None]:
        """A block in which the weights are compressed; then they are bit by bit as before.

        The original weights are kept meanwhile, once. Raises `ModelError` as `weights` does, before
        anything is changed.
        """
        weights = {name: model.model.get_parameter(name) for name in self.weights(model)}
        originals: dict[str, Tensor] = {}
        try:
            for name, weight in weights.items():
                originals[name] = weight.detach().clone()
                new = self._new(model, name)
                weight.data.copy_(new.T if stores_transposed(model.model, name) else new)
            model.follow(weights)
            yield
        finally:
            for name, original in originals.items():
                weights[name].data.copy_(original)
            model.follow(weights)

    @torch.no_grad()
    def of_edits(self, model: LoadedModel, deltas: Sequence[Delta]) -> list[Delta]:
        """What edits change in the compressed model: c(W + Δ) − c(W), in float32.

        Changes of other parameters stay as they are. `model` is not compressed.
        """
        names = {*self.weights(model)}
        changed = {name for delta in deltas for name in delta.updates} & names
        unedited = {name: self._new(model, name) for name in changed}
        found = []
        for delta in deltas:
            with delta.applied(model.model):
                updates: dict[str, Update] = {
                    name: DenseUpdate(self._new(model, name).float() - unedited[name].float())
                    for name in delta.updates
                    if name in names
                }
            found.append(Delta({**delta.updates, **updates}))
        return found

    def _new(self, model: LoadedModel, name: str) -> Float[Tensor, "d_out d_in"]:
        weight = model.model.get_parameter(name).detach()
        return self.of(weight.T if stores_transposed(model.model, name) else weight)


def linear_weights(model: LoadedModel, *, head: bool) -> list[str]:
    """The names of the blocks' linear maps' weights; with `head`, of an untied head's too."""
    whole, blocks = model.model, f"{model.anatomy.blocks}."
    last, embedding = whole.get_output_embeddings(), whole.get_input_embeddings()
    own_head = head and last is not None and last.weight is not embedding.weight
    return [
        f"{path}.weight"
        for path, module in whole.named_modules()
        if isinstance(module, LINEAR) and (path.startswith(blocks) or (own_head and module is last))
    ]
