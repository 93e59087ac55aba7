"""SimIE: each edit is made on the unedited model, and all of them are fitted together."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from editcore import OK, EditContext, EditRequest, EditResult, RequestError
from editcore.toolkit import (
    Delta,
    DenseUpdate,
    EditorWrapper,
    LoadedModel,
    LowRankUpdate,
    Update,
    merge_diagnostics,
    recording,
    stores_transposed,
    target_row,
)
from editcore_wrappers.config import SimIEConfig

NONFINITE = "the keys, or the change fitted to them, are not finite; nothing was edited"
PARTS = ("original", "moment", "inner")


@dataclass(frozen=True)
class Simulated:
    """What a sequence remembers, by parameter: its unedited weights, and M; both on the CPU.

    `inner` is the state of the inner editor. M is in float64.
    """

    original: Mapping[str, Tensor] = field(default_factory=dict)
    moment: Mapping[str, Tensor] = field(default_factory=dict)
    inner: Any = None


class SimIE(EditorWrapper[SimIEConfig]):
    """D = (ΔK − A K) Kᵀ M⁻¹, with Δ the inner editor's change and A that of all edits before."""

    def start(self, context: EditContext) -> Simulated:
        """Nothing is remembered of weights that no edit has changed."""
        return Simulated(inner=self.inner.start(context))

    def save_state(self, state: Simulated) -> Mapping[str, Tensor]:
        """The unedited weights, M, and the inner editor's state."""
        parts = (state.original, state.moment, self.inner.save_state(state.inner))
        return {
            f"{part}/{name}": tensor
            for part, tensors in zip(PARTS, parts, strict=True)
            for name, tensor in tensors.items()
        }

    def load_state(self, context: EditContext, tensors: Mapping[str, Tensor]) -> Simulated:
        """What `save_state` saved."""
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = tensor
        inner = self.inner.load_state(context, parts["inner"])
        return Simulated(parts["original"], parts["moment"], inner)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """The change that brings the model from the fit of all earlier edits to that with this."""
        before = self.start(context) if state is None else state
        with unedited(context.model, before.original):
            result = self.inner.edit(context, requests, before.inner)
            if result.delta is None or result.status != OK:
                return result
            keys = keys_of(context.model, result.delta, requests)
        return self._fitted(context.model, result, keys, before)

    def edit_each(
        self, context: EditContext, requests: Sequence[EditRequest]
    ) -> Iterator[EditResult]:
        """Each edit as the first of a sequence."""
        results = self.inner.edit_each(context, requests)
        for request, result in zip(requests, results, strict=True):
            if result.delta is None or result.status != OK:
                yield result
                continue
            try:
                keys = keys_of(context.model, result.delta, [request])
                yield self._fitted(context.model, result, keys, self.start(context))
            except RequestError as error:
                yield EditResult(None, str(error))

    def _fitted(
        self, model: LoadedModel, result: EditResult, keys: Mapping[str, Tensor], before: Simulated
    ) -> EditResult:
        """The result with the fitted change, and the state after it.

        The norm of the change that the inner editor made is reported as `change_norm`.
        """
        assert result.delta is not None
        if not result.delta.finite() or not all(found.isfinite().all() for found in keys.values()):
            return EditResult(None, NONFINITE)
        original, moment = dict(before.original), dict(before.moment)
        updates: dict[str, Update] = {}
        for name, update in result.delta.updates.items():
            weight = model.model.get_parameter(name).detach().cpu()
            original.setdefault(name, weight.clone())
            known = moment.get(name, self._ridge(keys[name]))
            moment[name] = known + keys[name] @ keys[name].T
            carried = weight.double() - original[name].double()
            if stores_transposed(model.model, name):
                carried = carried.T
            missing = added(update, keys[name]) - carried.reshape(-1, len(keys[name])) @ keys[name]
            updates[name] = product(missing, weighed(keys[name], moment[name]), update)
        delta = Delta(updates)
        if not delta.finite():
            return EditResult(None, NONFINITE)
        reported = merge_diagnostics(
            result.diagnostics, "simie", {"change_norm": result.delta.norm()}
        )
        state = Simulated(original, moment, result.state)
        return replace(result, delta=delta, state=state, diagnostics=reported)

    def _ridge(self, keys: Tensor) -> Tensor:
        """M before any edit: λI."""
        return self.options.ridge * torch.eye(len(keys), dtype=torch.float64)


def added(update: Update, keys: Tensor) -> Tensor:
    """ΔK `[d_out, token]`, in float64, without forming a low-rank Δ."""
    if isinstance(update, LowRankUpdate):
        outputs, inputs = update.outputs.double().cpu(), update.inputs.double().cpu()
        return outputs @ (inputs.T @ keys)
    return update.change.double().cpu().reshape(-1, len(keys)) @ keys


def weighed(keys: Tensor, moment: Tensor) -> Tensor:
    """M⁻¹K `[d_in, token]`."""
    solved: Tensor = torch.cholesky_solve(keys, torch.linalg.cholesky(moment))
    return solved


def product(outputs: Tensor, inputs: Tensor, like: Update) -> Update:
    """ΔW from its factors, in the shape of `like`; dense unless it has more rows and columns."""
    dtype = like.dense().dtype if isinstance(like, DenseUpdate) else like.outputs.dtype
    if len(like.shape) > 1 and outputs.shape[1] < min(like.shape):
        return LowRankUpdate(outputs.to(dtype).contiguous(), inputs.to(dtype).contiguous())
    return DenseUpdate((outputs @ inputs.T).to(dtype).reshape(like.shape))


@contextmanager
def unedited(model: LoadedModel, original: Mapping[str, Tensor]) -> Iterator[None]:
    """A block in which the model has its unedited weights; leaving it restores the edited bits."""
    edited = {name: model.model.get_parameter(name).detach().clone() for name in original}
    try:
        _carry(model, original)
        yield
    finally:
        _carry(model, edited)


@torch.no_grad()
def _carry(model: LoadedModel, weights: Mapping[str, Tensor]) -> None:
    for name, tensor in weights.items():
        model.model.get_parameter(name).copy_(tensor)
    model.follow(weights)


@torch.no_grad()
def keys_of(model: LoadedModel, delta: Delta, requests: Sequence[EditRequest]) -> dict[str, Tensor]:
    """K `[d_in, token]` of each parameter in a change, at all tokens of prompts and targets.

    A bias is a map of the constant 1. In float64 on the CPU. Each request has a pass of its own, so
    that padding changes nothing.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in delta.updates}
    for request in requests:
        row = target_row(model, request.text, request.target_new)
        ids = (*row.ids, row.target[-1])
        model.check_length(request.text, len(ids))
        with ExitStack() as stack:
            seen = {
                name: stack.enter_context(recording(linear_map(model, name)))
                for name in delta.updates
            }
            model.model(input_ids=torch.tensor([ids], device=model.device), use_cache=False)
        for name, recorded in seen.items():
            assert recorded.input is not None
            rows = recorded.input[0].double().cpu()
            found[name].append(rows.new_ones(len(rows), 1) if is_bias(name) else rows)
    return {name: torch.cat(rows).T for name, rows in found.items()}


def linear_map(model: LoadedModel, parameter: str) -> nn.Module:
    """The map whose weight or bias a parameter is; `RequestError` if it is of no linear map."""
    path, _, kind = parameter.rpartition(".")
    module = model.model.get_submodule(path)
    weight = getattr(module, "weight", None)
    matrix = isinstance(weight, Tensor) and weight.ndim == 2
    if kind not in ("weight", "bias") or not matrix or isinstance(module, nn.Embedding):
        raise RequestError(
            f"simie fits changes of linear maps, and the editor changes {parameter}; use an editor "
            "that changes none but these"
        )
    return module


def is_bias(parameter: str) -> bool:
    """Whether a parameter of a linear map is its bias."""
    return parameter.endswith(".bias")
