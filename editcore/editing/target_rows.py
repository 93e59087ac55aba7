"""Prompts with their targets as padded rows, and the places at which targets are scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from editcore.errors import ModelError
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows, pad_rows


@dataclass(frozen=True)
class TargetRow:
    """A prompt with its target but the last token, and the target, scored at the last places."""

    ids: tuple[int, ...]
    target: tuple[int, ...]


def target_row(
    model: LoadedModel, prompt: str, target: str, *, end_of_text: bool = False
) -> TargetRow:
    """Tokenise; `RequestError` for a prompt or target without tokens, or more than positions.

    With `end_of_text`, the target ends with that token; `ModelError` if the tokenizer has none.
    """
    added = model.target_ids(prompt, target)
    if end_of_text:
        added = (*added, _end_of_text(model))
    ids = (*model.tokenizer(prompt)["input_ids"], *added[:-1])
    model.check_length(prompt, len(ids))
    return TargetRow(ids, added)


def _end_of_text(model: LoadedModel) -> int:
    if model.tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of model {model.name!r} has no end-of-text token, which the target "
            "should end with; use an editor that needs none, or another model"
        )
    return int(model.tokenizer.eos_token_id)


@dataclass(frozen=True)
class ScoredRows:
    """Padded rows; for each scored token its row, column and id, and the number in its row."""

    rows: PaddedRows
    row: Int[Tensor, " scored"]
    column: Int[Tensor, " scored"]
    token: Int[Tensor, " scored"]
    size: Int[Tensor, " scored"]

    @classmethod
    def of(cls, model: LoadedModel, lines: Sequence[TargetRow]) -> "ScoredRows":
        """Pad rows on the right."""
        rows = pad_rows([each.ids for each in lines], model.pad_id, "right", model.device)
        places = [
            (row, len(each.ids) - len(each.target) + i, token, len(each.target))
            for row, each in enumerate(lines)
            for i, token in enumerate(each.target)
        ]
        row, column, token, size = torch.tensor(places, device=model.device).T
        return cls(rows, row, column, token, size)

    def loss(
        self, model: LoadedModel, hidden: Float[Tensor, "row position d_model"]
    ) -> Float[Tensor, " row"]:
        """The mean NLL of each row's target tokens, `[rows]`, in nats."""
        nll = -self.scores(model, hidden).gather(1, self.token[:, None])[:, 0] / self.size
        zeros = torch.zeros(len(self.rows.ids), dtype=nll.dtype, device=nll.device)
        return zeros.index_add(0, self.row, nll)

    def scores(
        self, model: LoadedModel, hidden: Float[Tensor, "row position d_model"]
    ) -> Float[Tensor, "scored vocabulary"]:
        """Log-probabilities at the scored places, given the last hidden states."""
        logits = model.parts.logits(hidden[self.row, self.column])
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
