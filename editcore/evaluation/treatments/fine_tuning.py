"""Fine-tuning a model on running text for a few steps, taken back bit by bit afterwards.

All weights of the blocks are trained with AdamW, without weight decay or warm-up; embeddings, the
last norm and the head stay as they are. The model remains in evaluation mode, so nothing is drawn
at random but the order of the texts, and every edited model sees the same batches.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from editcore.errors import DataError, ModelError
from editcore.models.loading import LoadedModel

LENGTH, ROWS = 128, 2


@dataclass(frozen=True)
class FineTuning:
    """The batches of all steps, and AdamW's learning rate."""

    batches: tuple[Int[Tensor, "row position"], ...]
    learning_rate: float

    @classmethod
    def drawn(
        cls, model: LoadedModel, texts: Sequence[str], steps: int, learning_rate: float, seed: int
    ) -> "FineTuning":
        """Batches of `ROWS` rows of `LENGTH` tokens, or as many as the model or the texts have.

        The texts are joined, with the end-of-text token between them if there is one, and cut into
        rows, whose order `seed` draws, again for each time that all were used. Raises `DataError`
        if the texts have fewer than two tokens.
        """
        rows = _rows(model, texts)
        generator = torch.Generator().manual_seed(seed)
        order: list[int] = []
        while len(order) < steps * ROWS:
            order += torch.randperm(len(rows), generator=generator).tolist()
        batches = torch.tensor(order[: steps * ROWS]).split(ROWS)
        return cls(tuple(rows[chosen].to(model.device) for chosen in batches), learning_rate)

    @contextmanager
    def applied(self, model: LoadedModel) -> Iterator[None]:
        """A block in which the model is fine-tuned; then its weights are bit by bit as before.

        Raises `ModelError` if weights are quantised, or if a loss is not finite.
        """
        weights = _weights(model)
        originals = {name: weight.detach().clone() for name, weight in weights.items()}
        try:
            with torch.enable_grad():
                self._train(model, list(weights.values()))
            model.follow(weights)
            yield
        finally:
            for name, weight in weights.items():
                weight.requires_grad_(False)
                weight.grad = None
                weight.data.copy_(originals[name])
            model.follow(weights)

    def _train(self, model: LoadedModel, weights: Sequence[nn.Parameter]) -> None:
        for weight in weights:
            weight.requires_grad_(True)
        # Steps are far smaller than the weights, and would be lost in numbers of 16 bits.
        copies = {w: w.detach().float() for w in weights if w.dtype != torch.float32}
        trained = [copies.get(weight, weight) for weight in weights]
        optimiser = torch.optim.AdamW(trained, lr=self.learning_rate, weight_decay=0.0)
        for ids in self.batches:
            self._loss(model, ids).backward()
            for weight, copied in copies.items():
                copied.grad = None if weight.grad is None else weight.grad.float()
            optimiser.step()
            for weight, copied in copies.items():
                weight.data.copy_(copied)
            for weight in weights:
                weight.grad = None

    def _loss(self, model: LoadedModel, ids: Int[Tensor, "row position"]) -> Float[Tensor, ""]:
        logits = model.model(input_ids=ids, use_cache=False).logits[:, :-1]
        loss = cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())
        if not math.isfinite(loss.item()):
            raise ModelError(
                f"the loss of fine-tuning {model.name!r} is not finite; choose a smaller "
                "survival.learning_rate if this happens to the unedited model too"
            )
        return loss


def _weights(model: LoadedModel) -> dict[str, nn.Parameter]:
    """All parameters of the blocks."""
    found = {
        name: weight
        for name, weight in model.model.named_parameters()
        if model.parts.block_of(name) is not None
    }
    for name, weight in found.items():
        if not weight.is_floating_point():
            raise ModelError(
                f"{name} of model {model.name!r} is quantised ({weight.dtype}), so it cannot be "
                "fine-tuned; load the model with floating-point weights"
            )
    return found


def _rows(model: LoadedModel, texts: Sequence[str]) -> Int[Tensor, "row position"]:
    """The texts as rows of one length; what is left at the end is not used."""
    end = model.tokenizer.eos_token_id
    ids = [
        token
        for text in texts
        for token in (
            *model.tokenizer(text, add_special_tokens=False)["input_ids"],
            *([end] if end is not None else []),
        )
    ]
    length = min(LENGTH, model.max_positions, len(ids))
    if length < 2:
        raise DataError("the texts to fine-tune on have fewer than two tokens; give longer ones")
    return torch.tensor(ids[: len(ids) // length * length]).view(-1, length)
