"""Sequential edits: weights that stay changed, and a file from which the changes can be repeated.

Sums of floating-point numbers depend on their order, so the file holds no sums: low-rank changes
are kept separately, in order, and added again one by one; a parameter that was changed densely is
kept as the bits in which it now differs. Hashes of the weights before and after identify the model
and check the result.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.errors import DataError, EditcoreError, reading
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel
from editcore.records.tensors import opened, save_tensors
from editcore.updates.delta import Delta, DenseUpdate, LowRankUpdate, Update
from editcore.updates.factor_history import PARTS, FactorHistory

PARAMETERS = "parameters"
REMEDY = "delete it and run again, so that `editcore sequence` writes it"
# An integer of the same width, to see a number's bits.
BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class CumulativeDelta:
    """The changes that a model's own weights carry, since `accumulating` began."""

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._originals: dict[str, Tensor] = {}
        self._factors: dict[str, FactorHistory] = {}

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that were changed."""
        return list(self._originals)

    def first_block(self) -> int:
        """The first block whose output can differ from the unedited model's."""
        blocks = (self._model.parts.block_of(name) or 0 for name in self._originals)
        return min(blocks, default=0)

    @torch.no_grad()
    def norm(self) -> float:
        """The Frobenius norm of the whole change, over all parameters together."""
        changes = (self._now(n).double() - before for n, before in self._originals.items())
        return float(sum(float(change.norm()) ** 2 for change in changes) ** 0.5)

    @torch.no_grad()
    def matrix(self, name: str) -> tuple[Float[Tensor, "d_out d_in"], Float[Tensor, "d_out d_in"]]:
        """A changed weight of a linear map, before all changes and as it is now, in float32."""
        both = self._originals[name].float(), self._now(name).float()
        turned = stores_transposed(self._model.model, name)
        before, now = (w.T if turned else w for w in both)
        return before, now

    @torch.no_grad()
    def total(self) -> Delta:
        """The sum of all changes since the unedited model, dense, as the weights now carry it."""
        changes = {n: self._now(n) - before for n, before in self._originals.items()}
        return Delta(
            {
                name: DenseUpdate(
                    change.T if stores_transposed(self._model.model, name) else change
                )
                for name, change in changes.items()
            }
        )

    def add(self, delta: Delta) -> None:
        """Add a delta to the weights; `PluginError`, and no change, if it does not fit."""
        delta.check(self._model.model)
        laid_out = Delta({name: self._laid_out(update) for name, update in delta.updates.items()})
        for name, update in laid_out.updates.items():
            new = name not in self._originals
            if new:
                self._originals[name] = self._now(name).clone()
            if isinstance(update, LowRankUpdate) and (new or name in self._factors):
                self._factors.setdefault(name, FactorHistory()).append(update)
            else:
                self._factors.pop(name, None)
        laid_out.add_to(self._model.model)
        self._model.follow(delta.updates)

    def try_out(self, delta: Delta) -> Callable[[], None]:
        """Add a delta; calling the result restores the bits from before, if nothing followed it."""
        delta.check(self._model.model)
        before = {name: self._now(name).clone() for name in delta.updates}
        originals = dict(self._originals)
        factors = {name: (held, len(held)) for name, held in self._factors.items()}
        self.add(delta)

        @torch.no_grad()
        def take_out() -> None:
            for name, weights in before.items():
                self._now(name).copy_(weights)
            self._model.follow(before)
            self._originals, self._factors = originals, {}
            for name, (held, length) in factors.items():
                held.cut(length)
                self._factors[name] = held

        return take_out

    @torch.no_grad()
    def revert(self) -> None:
        """Restore the original bytes."""
        for name, original in self._originals.items():
            self._now(name).copy_(original)
        self._model.follow(self._originals)
        self._originals.clear()
        self._factors.clear()

    def tensors(self) -> dict[str, Tensor]:
        """The changes by parameter: factors in their order, with their ranks, or differing bits."""
        found: dict[str, Tensor] = {}
        for name, original in self._originals.items():
            held = self._factors.get(name)
            if held is None:
                found[f"{name}/bits"] = (_bits(self._now(name)) ^ _bits(original)).cpu()
            else:
                found |= {f"{name}/{part}": tensor for part, tensor in held.tensors().items()}
        return found

    def record(self) -> str:
        """Hashes of the changed parameters, before and after, as JSON."""
        hashes = {n: [_hash(o), _hash(self._now(n))] for n, o in self._originals.items()}
        return json.dumps(hashes)

    def restore(self, tensors: Mapping[str, Tensor], record: str, where: Path) -> None:
        """Repeat the changes in `tensors` and `record`, on the unedited model.

        Raises `DataError`, with the model unedited again, if they belong to another model or the
        resulting weights differ from those saved.
        """
        try:
            with reading(where, "accumulated edits"):
                self._restore_all(tensors, json.loads(record), where)
        except EditcoreError:
            self.revert()
            raise

    def _restore_all(
        self,
        tensors: Mapping[str, Tensor],
        hashes: Mapping[str, Sequence[str]],
        where: Path,
    ) -> None:
        held = {key.rpartition("/")[0] for key in tensors}
        for name, (before, _) in hashes.items():
            if name not in held:
                raise DataError(
                    f"{where}: has no change of {name}, although it lists one; make it again"
                )
            if _hash(self._now(name)) != before:
                raise DataError(
                    f"{where}: was made for another model, whose {name} differs from that of "
                    f"{self._model.name!r}; give the unedited model that the edits were made on"
                )
        for name in hashes:
            self._restore(name, tensors)
        self._model.follow(hashes)
        wrong = [name for name, (_, after) in hashes.items() if _hash(self._now(name)) != after]
        if wrong:
            raise DataError(
                f"{where}: {wrong[0]} differs from what was saved, since other machines or "
                "libraries may round differently; re-run the edits on this machine"
            )

    @torch.no_grad()
    def _restore(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        if (bits := tensors.get(f"{name}/bits")) is not None:
            self._originals[name] = self._now(name).clone()
            now = self._now(name)
            now.copy_((_bits(now) ^ bits.to(now.device)).view(now.dtype))
            return
        ranks = tensors[f"{name}/ranks"].tolist()
        outputs, inputs = (tensors[f"{name}/{part}"].split(ranks, 1) for part in PARTS)
        for factors in zip(outputs, inputs, strict=True):
            self.add(Delta({name: LowRankUpdate(*factors)}))

    def _laid_out(self, update: Update) -> Update:
        """Factors with the dtype and memory layout that they will have when read from a file.

        The last bits of a product depend on how its factors are laid out in memory.
        """
        if not isinstance(update, LowRankUpdate):
            return update
        device = self._model.device
        kind = torch.promote_types(update.outputs.dtype, torch.float32)
        factors = (update.outputs, update.inputs)
        laid_out = (f.detach().to(device, kind) for f in factors)
        return LowRankUpdate(*(f.clone(memory_format=torch.contiguous_format) for f in laid_out))

    def _now(self, name: str) -> Tensor:
        return self._model.model.get_parameter(name).detach()


@contextmanager
def accumulating(model: LoadedModel) -> Iterator[CumulativeDelta]:
    """A block in which edits stay in the weights; leaving it restores the original bytes."""
    changes = CumulativeDelta(model)
    try:
        yield changes
    finally:
        changes.revert()


def save(changes: CumulativeDelta, path: Path, metadata: Mapping[str, str]) -> None:
    """Write all changes as one safetensors file, whole or not at all."""
    save_tensors(path, changes.tensors(), {**metadata, PARAMETERS: changes.record()})


@contextmanager
def applied(path: Path, model: LoadedModel) -> Iterator[CumulativeDelta]:
    """A block in which the model carries, bit by bit, the changes that `save` wrote.

    Raises `DataError` for any other file, and for one that does not belong to the model.
    """
    with opened(path, "accumulated edits", REMEDY) as file:
        tensors, record = file.all(), file.about[PARAMETERS]
    with accumulating(model) as changes:
        changes.restore(tensors, record, path)
        yield changes


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().view(BITS[tensor.element_size()])


def _hash(tensor: Tensor) -> str:
    content = tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data
    return hashlib.blake2b(content, digest_size=16).hexdigest()
