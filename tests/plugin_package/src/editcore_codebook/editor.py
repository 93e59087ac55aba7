"""The editor: each edit adds an entry to the codebook, or changes the radii of entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from editcore import EditContext, Editor, EditRequest, EditResult
from editcore.toolkit import LoadedModel, adding, recording
from editcore_codebook import CodebookConfig
from editcore_codebook.codebook import SAME, Codebook, CodebookPatch


@dataclass(frozen=True)
class Question:
    """A prompt and its target in tokens, `[1, length]`, with the prompt's last position."""

    ids: torch.Tensor
    end: int
    target: tuple[int, ...]

    @classmethod
    def of(cls, model: LoadedModel, request: EditRequest) -> "Question":
        """The request in tokens; `RequestError` for none, or more than positions."""
        prompt = list(model.tokenizer(request.text)["input_ids"])
        target = model.target_ids(request.text, request.target_new)
        model.check_length(request.text, len(prompt) + len(target) - 1)
        ids = torch.tensor([[*prompt, *target]], device=model.device)
        return cls(ids, len(prompt) - 1, target)


class CodebookEditor(Editor[CodebookConfig]):
    """GRACE (Hartvigsen et al. 2023, algorithm 1) at the MLP of one block."""

    def start(self, context: EditContext) -> Codebook:
        """An empty codebook."""
        return Codebook.empty(context.model.model.config.hidden_size, context.model.device)

    def edit(
        self, context: EditContext, requests: Sequence[EditRequest], state: Any = None
    ) -> EditResult:
        """Add the requests to the codebook one after another."""
        book, steps = self.start(context) if state is None else state, 0
        for request in requests:
            book, needed = self._with(context.model, book, Question.of(context.model, request))
            steps += needed
        layer, anatomy = self.config.layer, context.model.anatomy
        patch = CodebookPatch(layer, anatomy.path(layer, anatomy.mlp), book)
        return EditResult(patch=patch, state=book, diagnostics={"steps": steps})

    def _with(self, model: LoadedModel, book: Codebook, question: Question) -> tuple[Codebook, int]:
        """The codebook after one request, and the steps of the search for its value."""
        key, output = self._seen(model, question)
        own = radius = self.config.radius * float(key.norm())
        if len(book.keys):
            distances, entries = book.nearest(key[None])
            distance, entry = float(distances), int(entries)
            near = distance <= float(book.radii[entry]) + own
            if distance <= SAME * float(key.norm()):
                book = book.without(entry)
            elif near and book.targets[entry] == question.target:
                return book.expanded(entry, distance), 0
            elif near:
                book, radius = book.split(entry, distance), distance / 2
        value, steps = self._value(model, question, output)
        return book.extended(key, value, radius, question.target), steps

    @torch.no_grad()
    def _seen(self, model: LoadedModel, question: Question) -> tuple[torch.Tensor, torch.Tensor]:
        """The MLP's input and output at the end of the prompt, without the codebook."""
        with recording(model.parts.mlp(self.config.layer), stop=True) as seen:
            model.model(input_ids=question.ids[:, : question.end + 1], use_cache=False)
        assert seen.input is not None and seen.output is not None
        return seen.input[0, -1].float(), seen.output[0, -1].float()

    def _value(
        self, model: LoadedModel, question: Question, output: torch.Tensor
    ) -> tuple[torch.Tensor, int]:
        """The MLP output that makes the model predict the target, and the steps of its search."""
        config, end = self.config, torch.tensor([question.end], device=model.device)
        wanted = torch.tensor(question.target, device=model.device)
        moved = torch.zeros_like(output)[None].requires_grad_()
        optimiser = torch.optim.Adam([moved], lr=config.learning_rate)
        for step in range(config.steps):
            with torch.enable_grad(), adding(model.parts.mlp(config.layer), end, moved):
                logits = model.model(input_ids=question.ids[:, :-1], use_cache=False).logits
                loss = cross_entropy(logits[0, question.end :].float(), wanted)
            if loss.item() <= config.target_loss:
                return output + moved.detach()[0], step
            (moved.grad,) = torch.autograd.grad(loss, moved)
            optimiser.step()
        return output + moved.detach()[0], config.steps
