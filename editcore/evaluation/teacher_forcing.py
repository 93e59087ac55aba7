"""Teacher forcing: models' predictions of given targets, many cases and edits in one pass."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from editcore.evaluation.disturbance import Disturbance, Likeliest
from editcore.evaluation.overlay import (
    Activations,
    EditedModels,
    edited_models,
    recording_activations,
)
from editcore.models.batch_size import in_halves, neighbours, rows_of_logits, tokens_per_pass
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import PaddedRows, bucket_by_length, pad_rows
from editcore.requests import EditRequest
from editcore.updates.change import Change


@dataclass(frozen=True)
class Question:
    """A prompt and a continuation to score after it."""

    prompt: str
    target: str


@dataclass(frozen=True)
class Answer:
    """The target's ids, the argmax at each of their places, and their mean log-probability in nats.

    Where a logit is not finite, the `predicted` id is -1; a NaN or +∞ makes `log_probability` NaN.
    `divergence` is how far an edited model's predictions at these places moved from the unedited
    model's, on average in nats (`editcore.evaluation.disturbance`), and `first_divergence` the same
    at the first place alone, the next token after the prompt; None for the unedited model.
    """

    target: tuple[int, ...]
    predicted: tuple[int, ...]
    log_probability: float
    divergence: float | None = None
    first_divergence: float | None = None

    @property
    def accuracy(self) -> float:
        """Share of the target's tokens that are the argmax."""
        hits = sum(t == p for t, p in zip(self.target, self.predicted, strict=True))
        return hits / len(self.target)

    def agreement(self, other: "Answer") -> float:
        """Share of places at which two models have the same argmax; -1 agrees with nothing."""
        pairs = zip(self.predicted, other.predicted, strict=True)
        return sum(a == b and a >= 0 for a, b in pairs) / len(self.predicted)


@dataclass(frozen=True)
class CaseQuestions:
    """The questions of one case, by use: a list has one for each such prompt of the request.

    Prefixed prompts are in the template `test_prefix`; the edited prompt is asked in each of
    `further_prefixes` too.
    """

    request: EditRequest
    test_prefix: str
    further_prefixes: tuple[str, ...] = ()

    def _text(self, prompt: str, prefixed: bool) -> str:
        return self.request.in_context(self.test_prefix, prompt) if prefixed else prompt

    def rewrite(self, target: str, *, prefixed: bool = False) -> list[Question]:
        """The edited prompt itself; if prefixed, after each test prefix."""
        texts = self.prefixed_texts if prefixed else [self.request.text]
        return [Question(text, target) for text in texts]

    @property
    def prefixed_texts(self) -> list[str]:
        """The edited prompt after each test prefix."""
        templates = (self.test_prefix, *self.further_prefixes)
        text = self.request.text
        return [self.request.in_context(template, text) for template in templates]

    def paraphrases(self, target: str, *, prefixed: bool = False) -> list[Question]:
        """The fact in other words."""
        return [Question(self._text(text, prefixed), target) for text in self.request.paraphrases]

    def neighbours(self, target: str | None = None, *, prefixed: bool = False) -> list[Question]:
        """Facts that must not change: each with its own true object, or with `target`."""
        return [
            Question(self._text(probe.prompt, prefixed), target or probe.target)
            for probe in self.request.neighbours
        ]

    @staticmethod
    def scored(prompt: str, *targets: str) -> list[Question]:
        """Any prompt, with each of some continuations."""
        return [Question(prompt, target) for target in targets]

    def facts(self) -> list[Question]:
        """The prompt of each fact with its new object; none for a case of one fact."""
        facts = self.request.facts if self.request.further else ()
        return [Question(fact.text, fact.target_new) for fact in facts]

    def all(self) -> list[Question]:
        """The questions that every study asks; a metric can ask further ones."""
        new, true = self.request.target_new, self.request.target_true
        asked: list[Question] = []
        for prefixed in (False, True):
            asked += self.rewrite(new, prefixed=prefixed)
            asked += self.paraphrases(new, prefixed=prefixed)
            asked += self.neighbours(prefixed=prefixed)
        if true:
            asked += self.rewrite(true) + self.paraphrases(true)
        return asked + self.neighbours(new) + self.facts()

    def known(self, before: "Answers") -> bool | None:
        """Whether a model that gave these answers knows the true object; None if there is none.

        It does if each of the object's tokens is the argmax: greedy generation begins with it.
        """
        if not (true := self.request.target_true):
            return None
        (asked,) = self.rewrite(true)
        return before[asked].accuracy == 1


Answers = Mapping[Question, Answer]
"""One model's answers to the questions of a case."""


@dataclass(frozen=True)
class TokenizedQuestions:
    """The distinct questions of a case in tokens; `rows[i]` is prompt and target i but its last."""

    questions: tuple[Question, ...]
    rows: tuple[tuple[int, ...], ...]
    targets: tuple[tuple[int, ...], ...]

    @classmethod
    def joined(cls, parts: "Iterable[TokenizedQuestions]") -> "TokenizedQuestions":
        """The questions of several, each once, in the order of their first mention."""
        found = {
            question: (row, target)
            for part in parts
            for question, row, target in zip(part.questions, part.rows, part.targets, strict=True)
        }
        rows, targets = zip(*found.values(), strict=True) if found else ((), ())
        return cls(tuple(found), rows, targets)


def tokenize_questions(model: LoadedModel, questions: Iterable[Question]) -> TokenizedQuestions:
    """Tokenise a case's questions; `RequestError` for an empty or too long prompt or target."""
    unique = tuple(dict.fromkeys(questions))
    rows, targets = [], []
    for question in unique:
        prompt = model.tokenizer(question.prompt)["input_ids"]
        target = model.target_ids(question.prompt, question.target)
        rows.append((*prompt, *target[:-1]))
        targets.append(target)
        model.check_length(question.prompt, len(rows[-1]))
    return TokenizedQuestions(unique, tuple(rows), tuple(targets))


def ask(model: LoadedModel, asked: TokenizedQuestions) -> Answers:
    """The model's answers to the questions of one case."""
    return ask_all(model, [asked])[0]


@torch.no_grad()
def ask_all(model: LoadedModel, asked: Sequence[TokenizedQuestions]) -> list[Answers]:
    """The model's answers to the questions of each case, many cases in one pass."""
    return _Asking(model.frozen, asked).unedited()


@torch.no_grad()
def ask_edited(
    model: LoadedModel, asked: Sequence[TokenizedQuestions], changes: Sequence[Change]
) -> list[tuple[Answers, Answers]]:
    """Each case's answers before and after its own edit, many edits in one pass."""
    found: dict[int, tuple[Answers, Answers]] = {}
    for group in edited_models(model, changes):
        asking = _Asking(group.reader, [asked[i] for i in group.members])
        found |= zip(group.members, asking.edited(group), strict=True)
    return [found[i] for i in range(len(changes))]


@dataclass(frozen=True)
class _Kept:
    """A batch of rows, and the unedited model's activations and predictions for them."""

    batch: Sequence[int]
    rows: PaddedRows
    seen: Activations
    likeliest: Sequence[Likeliest]

    @property
    def places(self) -> range:
        """The rows by their place in the batch."""
        return range(len(self.batch))


class _Asking:
    """The questions of several cases to one model, all rows together, bucketed by length."""

    def __init__(self, model: LoadedModel, cases: Sequence[TokenizedQuestions]) -> None:
        self._model, self._cases = model, cases
        self._rows = [row for case in cases for row in case.rows]
        self._targets = [target for case in cases for target in case.targets]
        self._edit = [i for i, case in enumerate(cases) for _ in case.rows]
        self._batches = bucket_by_length([len(row) for row in self._rows], tokens_per_pass(model))

    def unedited(self) -> list[Answers]:
        """Every case's answers from the unedited model."""
        found: dict[int, Answer] = {}
        for batch in self._batches:
            for _, answers in in_halves(self._ask, batch):
                found |= answers
        return self._by_case(found)

    def _ask(self, batch: Sequence[int]) -> dict[int, Answer]:
        hidden = self._run(self._padded(batch))
        found: dict[int, Answer] = {}
        for some, scores in self._scores(batch, hidden):
            found |= self._read([batch[place] for place in some], scores)
        return found

    def edited(self, group: EditedModels) -> list[tuple[Answers, Answers]]:
        """Every case's answers before and after the edit of the group's member.

        One batch is read by all models before the next, so that only one is kept.
        """
        before: dict[int, Answer] = {}
        after: dict[int, Answer] = {}
        for batch in self._batches:
            for _, (answers, kept) in in_halves(partial(self._look, group), batch):
                before |= answers
                with group.in_place():
                    for _, again in in_halves(partial(self._ask_again, group, kept), kept.places):
                        after |= again
        return list(zip(self._by_case(before), self._by_case(after), strict=True))

    def _look(self, group: EditedModels, batch: Sequence[int]) -> tuple[dict[int, Answer], _Kept]:
        """The unedited model's answers to a batch, and what the edited ones start from."""
        rows, found = self._padded(batch), dict[int, Answer]()
        likeliest: list[Likeliest] = []
        with recording_activations(self._model, group.start) as seen:
            hidden = self._run(rows)
        for places, scores in self._scores(batch, hidden):
            some = [batch[place] for place in places]
            found |= self._read(some, scores)
            likeliest += [Likeliest.of(each) for each in scores.split(self._sizes(some))]
        return found, _Kept(batch, rows, seen, likeliest)

    def _ask_again(
        self, group: EditedModels, kept: _Kept, places: Sequence[int]
    ) -> dict[int, Answer]:
        """The edited models' answers to some rows of a batch that was kept."""
        batch = [kept.batch[place] for place in places]
        device = self._model.device
        index = torch.tensor(places, device=device)
        edit = torch.tensor([self._edit[i] for i in batch], device=device)
        hidden = group.hidden(kept.rows.rows(index), kept.seen.rows(index), edit)
        found: dict[int, Answer] = {}
        for some, scores in self._scores(batch, hidden):
            before = Likeliest.joined([kept.likeliest[places[place]] for place in some])
            found |= self._read([batch[place] for place in some], scores, before)
        return found

    def _padded(self, batch: Sequence[int]) -> PaddedRows:
        rows = [self._rows[i] for i in batch]
        return pad_rows(rows, self._model.pad_id, "right", self._model.device)

    def _run(self, rows: PaddedRows) -> torch.Tensor:
        with self._model.arithmetic():
            hidden: torch.Tensor = self._model.model.base_model(
                input_ids=rows.ids, attention_mask=rows.mask, use_cache=False
            ).last_hidden_state
        return hidden

    def _sizes(self, batch: Sequence[int]) -> list[int]:
        """The number of each row's target tokens."""
        return [len(self._targets[i]) for i in batch]

    def _scores(
        self, batch: Sequence[int], hidden: torch.Tensor
    ) -> Iterator[tuple[range, torch.Tensor]]:
        """Some rows of a batch at a time, by their places in it, with their log-probabilities.

        These are `[target token, vocabulary]`, at the places of the rows' targets.
        """
        lengths, sizes = [len(self._rows[i]) for i in batch], self._sizes(batch)
        for some in neighbours(sizes, rows_of_logits(self._model)):
            at = [(row, lengths[row] - sizes[row] + k) for row in some for k in range(sizes[row])]
            row, column = torch.tensor(at, device=hidden.device).T
            with self._model.arithmetic():
                scores = self._model.parts.logits(hidden[row, column]).float().log_softmax(-1)
            yield some, scores

    def _read(
        self, batch: Sequence[int], scores: torch.Tensor, before: Likeliest | None = None
    ) -> dict[int, Answer]:
        """The answers of a batch's rows, by the index of the row.

        `before` are the unedited model's predictions at the same places.
        """
        sizes = self._sizes(batch)
        token = torch.tensor([t for i in batch for t in self._targets[i]], device=scores.device)
        chosen = scores.gather(1, token[:, None])[:, 0].cpu().split(sizes)
        least, most = scores.aminmax(dim=-1)  # NaN if there is one
        finite = least.isfinite() & most.isfinite()
        best = torch.where(finite, scores.argmax(-1), -1).cpu().split(sizes)
        moved: list[tuple[float | None, float | None]] = [(None, None)] * len(batch)
        if before is not None:
            divergence = Disturbance.between(before, scores).divergence.split(sizes)
            moved = [(float(each.mean()), float(each[0])) for each in divergence]
        return {
            i: Answer(self._targets[i], tuple(ids.tolist()), float(log.mean()), *by)
            for i, ids, log, by in zip(batch, best, chosen, moved, strict=True)
        }

    def _by_case(self, found: Mapping[int, Answer]) -> list[Answers]:
        answers = iter(found[i] for i in range(len(self._rows)))
        return [{question: next(answers) for question in case.questions} for case in self._cases]
