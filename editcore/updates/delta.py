"""A weight change as a value: applied for a while, reverted bit by bit, saved as its factors."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from editcore.errors import PluginError
from editcore.models.architectures import ModelParts, stores_transposed
from editcore.records.tensors import opened, save_tensors
from editcore.updates.change import Change
from editcore.updates.delta_cases import CASES, cases, parts

REMEDY = (
    "delete it and run again the command that wrote it: `editcore edit`, `check --save` or `guard`"
)
OTHER_MODEL = "use the model that it was made for, or report this to the editor's authors"


@dataclass(frozen=True)
class LowRankUpdate:
    """ΔW = outputs @ inputs.T for a map y = W x."""

    outputs: Float[Tensor, "d_out rank"]
    inputs: Float[Tensor, "d_in rank"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ΔW, `(d_out, d_in)`."""
        return len(self.outputs), len(self.inputs)

    def consistent(self) -> bool:
        """Whether both factors are matrices of one rank."""
        shapes = self.outputs.shape, self.inputs.shape
        return all(len(shape) == 2 for shape in shapes) and shapes[0][1] == shapes[1][1]

    def dense(self) -> Float[Tensor, "d_out d_in"]:
        """ΔW."""
        return self.outputs @ self.inputs.T

    def norm(self) -> float:
        """The Frobenius norm of ΔW, without forming it: √tr(OᵀO · IᵀI).

        >>> LowRankUpdate(torch.tensor([[3.0], [4.0]]), torch.tensor([[2.0], [0.0]])).norm()
        10.0
        """
        outputs, inputs = self.outputs.double(), self.inputs.double()
        return float(((outputs.T @ outputs) * (inputs.T @ inputs)).sum().clamp(min=0).sqrt())

    def scaled(self, factor: float) -> "LowRankUpdate":
        """`factor`·ΔW."""
        return LowRankUpdate(factor * self.outputs, self.inputs)

    def size(self) -> int:
        """The bytes of the factors."""
        return self.outputs.nbytes + self.inputs.nbytes

    def finite(self) -> bool:
        """Whether every number in the factors is finite."""
        return bool(torch.isfinite(self.outputs).all() and torch.isfinite(self.inputs).all())


@dataclass(frozen=True)
class DenseUpdate:
    """ΔW itself; also for parameters that are not matrices, in their own shape."""

    change: Float[Tensor, "*shape"]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of ΔW."""
        return tuple(self.change.shape)

    def dense(self) -> Float[Tensor, "*shape"]:
        """ΔW."""
        return self.change

    def norm(self) -> float:
        """The Frobenius norm of ΔW."""
        return float(self.change.double().norm())

    def scaled(self, factor: float) -> "DenseUpdate":
        """`factor`·ΔW."""
        return DenseUpdate(factor * self.change)

    def size(self) -> int:
        """The bytes of its numbers."""
        return self.change.nbytes

    def finite(self) -> bool:
        """Whether every number is finite."""
        return bool(torch.isfinite(self.change).all())


Update = LowRankUpdate | DenseUpdate
"""The change ΔW `[d_out, d_in]` of one parameter, as factors or dense."""


@dataclass(frozen=True)
class Delta(Change):
    """Updates by the name of the parameter they change."""

    updates: Mapping[str, Update]

    def norm(self) -> float:
        """The Frobenius norm over all parameters together."""
        return math.sqrt(sum(update.norm() ** 2 for update in self.updates.values()))

    def finite(self) -> bool:
        """Whether every number in it is finite."""
        return all(update.finite() for update in self.updates.values())

    def size(self) -> int:
        """The bytes of all updates."""
        return sum(update.size() for update in self.updates.values())

    def places(self, parts: ModelParts) -> dict[str, int | None]:
        """The parameters, each with its layer; None for those outside all blocks."""
        return {name: parts.block_of(name) for name in self.updates}

    def check(self, model: nn.Module) -> None:
        """Raise `PluginError` for a parameter that the model lacks or a shape that does not fit."""
        for name, update in self.updates.items():
            if isinstance(update, LowRankUpdate) and not update.consistent():
                raise PluginError(
                    f"the factors for {name} have shapes {tuple(update.outputs.shape)} and "
                    f"{tuple(update.inputs.shape)}; both must be matrices with the same number of "
                    "columns"
                )
            shape = update.shape
            own = _parameter(model, name).shape
            if tuple(shape) != tuple(own[::-1] if stores_transposed(model, name) else own):
                raise PluginError(
                    f"the delta for {name} has shape {tuple(shape)}, "
                    f"but the parameter has {tuple(own)}; {OTHER_MODEL}"
                )

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Change the model's weights inside the block; leaving it restores the original bytes.

        Raises `PluginError` as `check` does, before anything is changed.
        """
        self.check(model)
        parameters = [_parameter(model, name) for name in self.updates]
        originals = [parameter.detach().clone() for parameter in parameters]
        try:
            self.add_to(model)
            yield
        finally:
            with torch.no_grad():
                for parameter, original in zip(parameters, originals, strict=True):
                    parameter.copy_(original)

    @torch.no_grad()
    def alters(self, model: nn.Module) -> bool:
        """Whether adding it alters any weight; a change below the weights' rounding does not."""
        before = {name: _parameter(model, name).detach().clone() for name in self.updates}
        with self.applied(model):
            return any(not torch.equal(_parameter(model, n), old) for n, old in before.items())

    @torch.no_grad()
    def add_to(self, model: nn.Module) -> None:
        """Change the model's weights for good; errors as in `applied`."""
        self.check(model)
        changes = [(_parameter(model, name), self._change(model, name)) for name in self.updates]
        for parameter, change in changes:
            parameter.add_(change)

    def _change(self, model: nn.Module, name: str) -> Float[Tensor, "*shape"]:
        change = self.updates[name].dense()
        stored = change.T if stores_transposed(model, name) else change
        return stored.to(_parameter(model, name))


def combine_deltas(deltas: Sequence[Delta]) -> Delta:
    """The sum of sequential edits as one delta; a parameter with any dense update becomes dense."""
    names = dict.fromkeys(name for delta in deltas for name in delta.updates)
    return Delta(
        {name: _sum([d.updates[name] for d in deltas if name in d.updates]) for name in names}
    )


def _sum(updates: Sequence[Update]) -> Update:
    low = [update for update in updates if isinstance(update, LowRankUpdate)]
    if len(low) < len(updates):
        return DenseUpdate(torch.stack([update.dense() for update in updates]).sum(0))
    return LowRankUpdate(
        torch.cat([u.outputs for u in low], 1), torch.cat([u.inputs for u in low], 1)
    )


def _parameter(model: nn.Module, name: str) -> nn.Parameter:
    try:
        return model.get_parameter(name)
    except AttributeError as error:
        raise PluginError(
            f"the delta names {name}, which the model does not have; {OTHER_MODEL}"
        ) from error


def save_deltas(deltas: Mapping[int, Delta], path: Path, metadata: Mapping[str, str]) -> None:
    """Write the deltas of many cases into one safetensors file, as factors, whole or not at all.

    The metadata list the cases, since a delta without updates has no tensors.
    """
    tensors: dict[str, Tensor] = {}
    for case_id, delta in deltas.items():
        for name, update in delta.updates.items():
            for part, tensor in vars(update).items():
                tensors[f"{case_id}/{name}/{part}"] = tensor
    save_tensors(path, tensors, {**metadata, CASES: json.dumps(list(deltas))})


def load_deltas(path: Path, only: Collection[int] | None = None) -> dict[int, Delta]:
    """What `save_deltas` wrote, by case, all or `only` some; `DataError` for any other file."""
    with opened(path, "deltas", REMEDY) as file:
        found: dict[int, dict[str, dict[str, Tensor]]] = {
            case: {} for case in cases(file.about, file.names) if only is None or case in only
        }
        for key in file.names:
            case, name, part = parts(key)
            if int(case) in found:
                found[int(case)].setdefault(name, {})[part] = file[key]
        return {
            case: Delta({name: _update(fields) for name, fields in updates.items()})
            for case, updates in found.items()
        }


def factor_bytes(delta: Delta) -> bytes | None:
    """A low-rank delta as the bytes of a safetensors file; None if any of its updates is dense."""
    tensors: dict[str, Tensor] = {}
    for name, update in delta.updates.items():
        if not isinstance(update, LowRankUpdate):
            return None
        for part, tensor in vars(update).items():
            tensors[f"{name}/{part}"] = tensor.detach().cpu().contiguous()
    return safetensors.torch.save(tensors)


def from_factor_bytes(content: bytes) -> Delta:
    """The delta that `factor_bytes` wrote."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in safetensors.torch.load(content).items():
        name, part = key.split("/")
        found.setdefault(name, {})[part] = tensor
    return Delta({name: _update(fields) for name, fields in found.items()})


def _update(fields: Mapping[str, Tensor]) -> Update:
    return DenseUpdate(**fields) if "change" in fields else LowRankUpdate(**fields)
