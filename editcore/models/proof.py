"""The proof, at loading, that a model's parts are right: fast computations agree with plain ones.

Everything that editcore computes relies on these equalities, so a model for which one fails is
refused with an error that names it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import torch
from torch import Tensor
from transformers import PreTrainedModel

from editcore.errors import ModelError, enough_memory, out_of_memory
from editcore.models import hooks
from editcore.models.architectures import ModelParts, stores_transposed
from editcore.models.kv_cache import cache, held, read_after
from editcore.models.tokenization import pad_rows

# Largest relative difference between a fast computation and the plain one,
CLOSE = 0.01
# plus this number of the dtype's roundings.
ROUNDINGS = 16
# Size of what is added to a state, relative to it.
SHARE = 0.5


@torch.no_grad()
def prove(model: PreTrainedModel, parts: ModelParts, ids: Sequence[int]) -> None:
    """Raise `ModelError`, with the claim that failed, unless all of `CLAIMS` hold on a text.

    A model whose logits are not finite there passes: its perplexity is refused when it is measured.
    If memory runs out, nothing is known about the model, and the error is about that.
    """
    with enough_memory(f"run a model of type {model.config.model_type!r} on {len(ids)} tokens"):
        _prove(model, parts, ids)


def _prove(model: PreTrainedModel, parts: ModelParts, ids: Sequence[int]) -> None:
    bench = _Bench(model, parts, torch.tensor([[*ids]], device=model.device))
    if not bench.plain.isfinite().all():
        return
    for claim, holds in CLAIMS.items():
        try:
            held_up = holds(bench)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
            if out_of_memory(error):
                raise
            held_up, claim = False, f"{claim} ({type(error).__name__})"
        if not held_up:
            raise ModelError(
                f"a model of type {model.config.model_type!r} cannot be edited: editcore relies on "
                f"{claim}, which is not so here; use another model, or name its parts in a plugin "
                "(docs/writing-an-editor.md)"
            )


class _Bench:
    """A model, its parts, a text, and the plain logits."""

    def __init__(self, model: PreTrainedModel, parts: ModelParts, ids: Tensor) -> None:
        self.model, self.parts, self.ids = model, parts, ids
        self.plain = self.logits()
        self.layer = parts.depth // 2
        self.column = torch.tensor([ids.shape[1] // 2], device=ids.device)

    def logits(self) -> Tensor:
        """The model's logits, with the hooks and weights that are in place."""
        logits: Tensor = self.model(input_ids=self.ids, use_cache=False).logits
        return logits

    def hidden(self) -> Tensor:
        """The model's last hidden states."""
        states: Tensor = self.model.base_model(
            input_ids=self.ids, use_cache=False
        ).last_hidden_state
        return states

    def recorded(self, layer: int) -> hooks.Recorded:
        """A block's input and output."""
        with hooks.recording(self.parts.block(layer)) as seen:
            self.logits()
        return seen

    def delta(self) -> Tensor:
        """Something to add to the states at `column`."""
        states = self.recorded(self.layer).output
        assert states is not None
        return SHARE * states[0, self.column].roll(1, -1)

    def same(self, found: Tensor, expected: Tensor, effect: Tensor | None = None) -> bool:
        """Whether two tensors agree, relative to the norm of `effect` (default `expected`)."""
        scale = expected if effect is None else effect
        allowed = CLOSE + ROUNDINGS * torch.finfo(found.dtype).eps
        return bool((found.double() - expected.double()).norm() <= allowed * scale.double().norm())


def _is_causal(bench: _Bench) -> bool:
    other, last = bench.ids.clone(), bench.ids[0, -1]
    other[0, -1] = bench.ids[bench.ids != last][0]  # not simply the first, which may equal the last
    found = bench.model(input_ids=other, use_cache=False).logits[:, :-1]
    return bench.same(found, bench.plain[:, :-1])


def _head_is_right(bench: _Bench) -> bool:
    return bench.same(bench.parts.logits(bench.hidden()), bench.plain)


def _resumes(bench: _Bench) -> bool:
    states = bench.recorded(bench.layer).output
    with hooks.resuming_after(bench.parts, bench.layer, states):
        return bench.same(bench.logits(), bench.plain)


def _continues(bench: _Bench) -> bool:
    """Read a row, padded on the left, in two parts, the second from the first one's KV cache."""
    half = bench.ids.shape[1] // 2
    row = bench.ids[0].tolist()
    padded = pad_rows([row], row[0], "left", bench.ids.device, len(row) + 2)
    known = cache([])
    cut = half + 2
    first, second = slice(0, cut), slice(cut, None)
    read_after(
        bench.model, padded.ids[:, first], padded.mask[:, first], padded.positions[:, first], known
    )
    again = cache(held(known))
    states = read_after(
        bench.model, padded.ids[:, second], padded.mask, padded.positions[:, second], again
    )
    return bench.same(bench.parts.logits(states), bench.plain[:, half:])


def _value_arrives(bench: _Bench) -> bool:
    parts, layer, delta = bench.parts, bench.layer, bench.delta()
    with hooks.adding(parts.down(layer), bench.column, delta):
        expected = bench.logits()
    settled = hooks.last_settled(parts, layer)
    states = bench.recorded(settled).output if settled >= 0 else None
    added = torch.zeros(*bench.ids.shape, delta.shape[-1], dtype=delta.dtype, device=delta.device)
    added[0, bench.column] = delta
    with hooks.resuming_with(parts, layer, states, added):
        return bench.same(bench.logits(), expected, expected - bench.plain)


def _weight_is_right(bench: _Bench) -> bool:
    """ΔW = δ kᵀ / (k·k) in the weight does what adding δ (k·k′) / (k·k) at each key k′ does."""
    parts, layer = bench.parts, bench.layer
    with hooks.recording(parts.down(layer)) as down:
        bench.logits()
    assert down.input is not None
    keys, delta = down.input.double(), bench.delta().double()
    key = keys[0, bench.column]
    change = delta.T @ key / (key * key).sum()
    added = (keys @ change.T).to(bench.plain.dtype)
    with _changed(bench, change):
        expected = bench.logits()
    with hooks.adding_everywhere(parts.down(layer), added):
        return bench.same(bench.logits(), expected, expected - bench.plain)


@contextmanager
def _changed(bench: _Bench, change: Tensor) -> Iterator[None]:
    name = bench.parts.down_weight(bench.layer)
    weight = bench.model.get_parameter(name)
    before = weight.clone()
    weight.add_(change.T if stores_transposed(bench.model, name) else change)
    try:
        yield
    finally:
        weight.copy_(before)


Claim = Callable[[_Bench], bool]
CLAIMS: Mapping[str, Claim] = MappingProxyType(
    {
        "later tokens changing no earlier prediction": _is_causal,
        "the head giving the logits": _head_is_right,
        "a pass resuming after a block": _resumes,
        "a pass continuing from a KV cache": _continues,
        "a pass that starts at a layer using what is added to its MLP's output": _value_arrives,
        "a change ΔW of the down-projection adding ΔW k to its output": _weight_is_right,
    }
)
