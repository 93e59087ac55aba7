"""The keys of a sequence's facts, and what edited matrices gave at them just after each edit."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from editcore.keyvalue.keys import tokenize_templates
from editcore.models import hooks
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import pad_rows
from editcore.requests import SLOT, EditRequest
from editcore.runs.sequence.telemetry.matrices import Matrix

RECENT = 20  # facts whose values' norm is measured
PARTS = ("keys", "outputs")


@dataclass(frozen=True)
class FactKeys:
    """At one edited matrix: the facts' keys kₜ, and Wₜkₜ, in the order of the edits."""

    keys: Float[Tensor, "fact d_in"]
    outputs: Float[Tensor, "fact d_out"]

    def drift(self, now: Matrix) -> float:
        """The mean of ‖(W − Wₜ)kₜ‖ / ‖Wₜkₜ‖."""
        moved = (self.keys @ now.T - self.outputs).norm(dim=1)
        return float((moved / self._sizes()).mean())

    def recent_size(self, relative_to: float) -> float:
        """The mean of ‖Wₜkₜ‖ over the last `RECENT` facts, relative to another norm."""
        return float(self._sizes()[-RECENT:].mean()) / relative_to

    def cosine(self) -> float:
        """The mean over facts of the largest cosine of their key to another's; 0 for one fact."""
        if len(self.keys) == 1:
            return 0.0
        units = torch.nn.functional.normalize(self.keys, dim=1)
        return float((units @ units.T).fill_diagonal_(-1.0).amax(1).mean())

    def rank(self) -> float:
        """The effective rank of ΣKKᵀ: exp of the entropy of its normalised eigenvalues."""
        chances = torch.linalg.svdvals(self.keys).double().square()
        chances = chances / chances.sum()
        return float(torch.special.entr(chances).sum().exp())

    def _sizes(self) -> Float[Tensor, " fact"]:
        sizes: Tensor = self.outputs.norm(dim=1)
        return sizes.clamp_min(torch.finfo(torch.float32).tiny)


@dataclass
class KeyHistory:
    """The keys of all facts edited so far, by the path of the edited matrix."""

    parts: dict[str, list[FactKeys]] = field(default_factory=dict)

    def add(
        self, model: LoadedModel, matrices: Mapping[str, Matrix], facts: Sequence[EditRequest]
    ) -> None:
        """Add the facts that were edited last, as the model with their edit reads them.

        A key is the input of the matrix at the subject's last token in the bare prompt, or at the
        prompt's last token if a fact names no subject. `matrices` are by the module's path.
        """
        if not matrices or not facts:
            return
        rows = [_up_to_subject(model, fact) for fact in facts]
        for path, keys in _inputs(model, list(matrices), rows).items():
            self.parts.setdefault(path, []).append(FactKeys(keys, keys @ matrices[path].T))

    def at(self, path: str) -> FactKeys | None:
        """Those of one matrix; None before its first edit."""
        if not (found := self.parts.get(path)):
            return None
        if len(found) > 1:
            self.parts[path] = [
                FactKeys(*(torch.cat([getattr(f, p) for f in found]) for p in PARTS))
            ]
        return self.parts[path][0]

    def copy(self) -> "KeyHistory":
        """The same history, to which further facts can be added alone."""
        return KeyHistory({path: [*found] for path, found in self.parts.items()})

    def tensors(self) -> dict[str, Tensor]:
        """All keys and outputs by name, for a checkpoint."""
        whole = {path: self.at(path) for path in self.parts}
        return {f"{n}/{part}": getattr(k, part) for n, k in whole.items() for part in PARTS}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "KeyHistory":
        """The history that `tensors` described."""
        paths = dict.fromkeys(name.rpartition("/")[0] for name in tensors)
        return cls({p: [FactKeys(*(tensors[f"{p}/{part}"] for part in PARTS))] for p in paths})


def _up_to_subject(model: LoadedModel, fact: EditRequest) -> tuple[int, ...]:
    if not fact.names_subject:
        return tuple(model.tokenizer(fact.prompt)["input_ids"])
    (prompt,) = tokenize_templates(model, fact, [SLOT])
    return prompt.ids[: prompt.subject + 1]


@torch.no_grad()
def _inputs(
    model: LoadedModel, paths: Sequence[str], rows: Sequence[tuple[int, ...]]
) -> dict[str, Float[Tensor, "fact d_in"]]:
    """What the linear maps at `paths` read at the last token of each row."""
    padded = pad_rows(rows, model.pad_id, "right", model.device)
    last = torch.arange(len(rows)), torch.tensor([len(row) - 1 for row in rows])
    found: dict[str, Tensor] = {}
    with _keeping(model, paths, last, found):
        model.model.base_model(input_ids=padded.ids, attention_mask=padded.mask, use_cache=False)
    return found


@contextmanager
def _keeping(
    model: LoadedModel,
    paths: Sequence[str],
    last: tuple[Tensor, Tensor],
    found: dict[str, Tensor],
) -> Iterator[None]:
    def keep(path: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        found[path] = hooks.by_row(module, inputs[0])[last].float()

    with ExitStack() as stack:
        for path in paths:
            module = model.model.get_submodule(path)
            handle = module.register_forward_pre_hook(lambda m, i, path=path: keep(path, m, i))
            stack.callback(handle.remove)
        yield
