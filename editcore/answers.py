"""What a model says to a case's prompts, teacher-forced, all of a case in one forward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from editcore.keys import fill
from editcore.models import LoadedModel
from editcore.requests import EditRequest
from editcore.tokens import continuation, pad


@dataclass(frozen=True)
class Question:
    """A prompt and a continuation to score behind it."""

    prompt: str
    target: str


@dataclass(frozen=True)
class Answer:
    """The target's ids, the argmax at each of their places, and the mean token's log-probability.

    A model with non-finite logits predicts nothing: its `predicted` ids are -1, its log-probability
    NaN.
    """

    target: tuple[int, ...]
    predicted: tuple[int, ...]
    log_probability: float

    @property
    def accuracy(self) -> float:
        """Share of the target's tokens that are the argmax."""
        hits = sum(t == p for t, p in zip(self.target, self.predicted, strict=True))
        return hits / len(self.target)

    def agreement(self, other: "Answer") -> float:
        """Share of places where two models' argmax is the same; if they say any."""
        pairs = zip(self.predicted, other.predicted, strict=True)
        return sum(a == b and a >= 0 for a, b in pairs) / len(self.predicted)


@dataclass(frozen=True)
class CaseQuestions:
    """The questions of one case, by use; each list is as long as the request has such prompts."""

    request: EditRequest
    test_prefix: str

    def _behind(self, prompt: str, prefixed: bool) -> str:
        return fill(self.test_prefix, prompt) if prefixed else prompt

    def rewrite(self, target: str, *, prefixed: bool = False) -> list[Question]:
        """The edited prompt itself."""
        return [Question(self._behind(self.request.text, prefixed), target)]

    def paraphrases(self, target: str, *, prefixed: bool = False) -> list[Question]:
        """The fact in other words."""
        return [Question(self._behind(text, prefixed), target) for text in self.request.paraphrases]

    def neighbours(self, target: str | None = None, *, prefixed: bool = False) -> list[Question]:
        """Facts that must stay: each with its own true object, or with `target`."""
        return [
            Question(self._behind(probe.prompt, prefixed), target or probe.target)
            for probe in self.request.neighbours
        ]

    def all(self) -> list[Question]:
        """Every question that the built-in metrics ask."""
        new, true = self.request.target_new, self.request.target_true
        asked: list[Question] = []
        for prefixed in (False, True):
            asked += self.rewrite(new, prefixed=prefixed)
            asked += self.paraphrases(new, prefixed=prefixed)
            asked += self.neighbours(prefixed=prefixed)
        if true:
            asked += self.rewrite(true) + self.paraphrases(true)
        return asked + self.neighbours(new)


@torch.no_grad()
def ask(model: LoadedModel, questions: Sequence[Question]) -> dict[Question, Answer]:
    """Score every question in one forward pass."""
    unique = list(dict.fromkeys(questions))
    prompts = [model.tokenizer(q.prompt)["input_ids"] for q in unique]
    targets = [continuation(model.tokenizer, q.prompt, q.target) for q in unique]
    rows = pad(
        [[*p, *t[:-1]] for p, t in zip(prompts, targets, strict=True)],
        model.pad_id,
        "right",
        model.device,
    )
    hidden = model.model.base_model(
        input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
    ).last_hidden_state
    places = [
        (row, len(p) - 1 + i, token)
        for row, (p, t) in enumerate(zip(prompts, targets, strict=True))
        for i, token in enumerate(t)
    ]
    row, column, token = torch.tensor(places, device=model.device).T
    scores = model.layout.logits(hidden[row, column]).float().log_softmax(-1)
    chosen = scores.gather(1, token[:, None])[:, 0].cpu()
    finite = scores.isfinite().all(-1)
    best = torch.where(finite, scores.argmax(-1), -1).cpu()
    sizes = [len(t) for t in targets]
    return {
        question: Answer(target, tuple(ids.tolist()), float(log.mean()))
        for question, target, ids, log in zip(
            unique, targets, best.split(sizes), chosen.split(sizes), strict=True
        )
    }


Answers = Mapping[Question, Answer]
