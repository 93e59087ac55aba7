"""The search for two outputs at once, of attention and of the MLP, at the last edited layer.

The loss is MEMIT's, with the weight decay of both δ; each is clamped by the norm of the output that
it is added to. Attention's δ only helps the search: the change gives the MLP its output alone.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from editcore import RequestError
from editcore.toolkit import (
    LoadedModel,
    PaddedRows,
    RowAdam,
    Value,
    ValueProblem,
    adding,
    pad_rows,
    recording,
    resuming_after,
)
from editcore_pmet.config import PmetConfig


@dataclass(frozen=True)
class Losses:
    """The target's mean loss, the KL divergence, and whether all templates give the target."""

    target: Tensor
    kl: Tensor
    agreed: bool


class PairSearch:
    """One case: its rows, which run from the edited block on, and the block's two outputs."""

    def __init__(self, model: LoadedModel, problem: ValueProblem, layer: int) -> None:
        self._model, self._layer, self._problem = model.frozen, layer, problem
        prompts = [*problem.prompts, problem.kl_prompt]
        rows = [prompt.ids + problem.target[:-1] for prompt in problem.prompts]
        self._rows: PaddedRows = pad_rows(
            [*rows, problem.kl_prompt.ids], model.pad_id, "right", model.device
        )
        self._subject = torch.tensor([prompt.subject for prompt in prompts], device=model.device)
        with torch.no_grad(), self._model.arithmetic():
            self._attention = self._attention_output()
            self._states = self._below()
            self.initial = self._outputs()
        self._before: Tensor | None = None

    def run(self, options: PmetConfig) -> Value:
        """The MLP's output that the change is to reach, and how it was found."""
        initial = self.initial.norm(dim=1)
        adam = RowAdam([torch.zeros_like(self.initial)], options.learning_rate)
        (delta,), weight = adam.tensors, 1.0
        for step in range(1, options.steps + 1):
            with self._model.arithmetic():
                found = self._losses(delta.requires_grad_())
            decay = (delta.norm(dim=1) / initial**2).sum()
            loss = weight * found.target + options.kl_factor * found.kl
            loss = loss + options.weight_decay * decay
            reached = float(loss.detach())
            enough = found.agreed and float(found.kl.detach()) <= options.stop_kl
            if step == options.steps or enough or not options.stop_loss <= reached < math.inf:
                break
            (gradient,) = torch.autograd.grad(loss, delta)
            with torch.no_grad():
                adam.step([gradient])
                limit = options.clamp_norm_factor * initial
                delta *= (limit / delta.norm(dim=1)).clamp(max=1)[:, None]
            weight = options.agreed_weight if found.agreed else 1.0
        return Value(self.initial[1], delta.detach()[1].clone(), step, reached)

    def _losses(self, delta: Tensor) -> Losses:
        """With both δ in place."""
        problem, rows = self._problem, len(self._rows.ids)
        with ExitStack() as stack:
            stack.enter_context(resuming_after(self._model.parts, self._layer - 1, self._states))
            places = (self._attention, self._model.parts.down(self._layer))
            for module, own in zip(places, delta, strict=True):
                stack.enter_context(adding(module, self._subject, own.expand(rows, -1)))
            scores = self._forward().logits.float()
        after = scores[-1, self._subject[-1]].log_softmax(-1)
        if self._before is None:  # both δ are 0: the model is as it was
            self._before = after.detach()
        target = torch.tensor(problem.target, device=scores.device)
        first = torch.tensor([len(p.ids) - 1 for p in problem.prompts], device=scores.device)
        columns = first[:, None] + torch.arange(len(target), device=scores.device)
        predicted = scores[torch.arange(len(first))[:, None], columns]
        nll = -predicted.log_softmax(-1).gather(2, target.expand(len(first), -1)[..., None])
        return Losses(
            nll.mean(),
            (after.exp() * (after - self._before)).sum(),
            bool((predicted.argmax(-1) == target).all()),
        )

    def _forward(self) -> Any:
        rows = self._rows
        return self._model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)

    def _below(self) -> Tensor | None:
        """The states after the block below the edited one, which does not run again."""
        if self._layer == 0:
            return None
        with recording(self._model.parts.block(self._layer - 1), stop=True) as seen:
            self._forward()
        return seen.output

    def _outputs(self) -> Tensor:
        """The two outputs at the bare prompt's subject, as rows: attention's and the MLP's."""
        parts = self._model.parts
        with (
            recording(self._attention) as attention,
            recording(parts.mlp(self._layer)) as mlp,
        ):
            self._forward()
        assert attention.output is not None and mlp.output is not None
        place = (0, self._subject[0])
        return torch.stack([attention.output[place], mlp.output[place]]).float()

    def _attention_output(self) -> nn.Module:
        """The last linear map of the block to run that is not the MLP's and gives a state."""
        parts, ran = self._model.parts, []
        block, width = parts.block(self._layer), self._model.model.config.hidden_size

        def note(module: nn.Module, _: object, output: object) -> None:
            if isinstance(output, Tensor) and output.shape[-1] == width:
                ran.append(module)

        with ExitStack() as stack:
            for path, module in block.named_modules():
                if _is_linear(module) and path not in parts.anatomy.maps:
                    stack.enter_context(module.register_forward_hook(note))
            self._forward()
        if not ran:
            raise RequestError(
                f"no linear map that gives attention's output was found in block {self._layer}; "
                "edit this model with another editor"
            )
        return ran[-1]


def _is_linear(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2
