"""Prompts with their targets as padded rows, and the places at which targets are scored."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from editcore.toolkit import LoadedModel, PaddedRows, continuation_ids, pad_rows


@dataclass(frozen=True)
class Line:
    """A prompt with its target but the last token, and the target, scored at the last places."""

    ids: tuple[int, ...]
    target: tuple[int, ...]


def line(model: LoadedModel, prompt: str, target: str) -> Line:
    """Tokenise; `RequestError` for a prompt or target without tokens, or more than positions."""
    added = continuation_ids(model.tokenizer, prompt, target)
    ids = (*model.tokenizer(prompt)["input_ids"], *added[:-1])
    model.check_length(prompt, len(ids))
    return Line(ids, added)


@dataclass(frozen=True)
class Scored:
    """Padded rows; for each scored token its row, column and id, and the number in its row."""

    rows: PaddedRows
    row: torch.Tensor
    column: torch.Tensor
    token: torch.Tensor
    size: torch.Tensor

    @classmethod
    def of(cls, model: LoadedModel, lines: Sequence[Line]) -> "Scored":
        """Pad lines into rows."""
        rows = pad_rows([each.ids for each in lines], model.pad_id, "right", model.device)
        places = [
            (row, len(each.ids) - len(each.target) + i, token, len(each.target))
            for row, each in enumerate(lines)
            for i, token in enumerate(each.target)
        ]
        row, column, token, size = torch.tensor(places, device=model.device).T
        return cls(rows, row, column, token, size)

    def loss(self, model: LoadedModel, hidden: torch.Tensor) -> torch.Tensor:
        """The mean NLL of each row's target tokens, `[rows]`, in nats."""
        nll = -self.scores(model, hidden).gather(1, self.token[:, None])[:, 0] / self.size
        zeros = torch.zeros(len(self.rows.ids), dtype=nll.dtype, device=nll.device)
        return zeros.index_add(0, self.row, nll)

    def scores(self, model: LoadedModel, hidden: torch.Tensor) -> torch.Tensor:
        """Log-probabilities `[scored, vocabulary]` at the scored places."""
        logits = model.parts.logits(hidden[self.row, self.column])
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
