"""A model on this machine as judge: is an answer right, A, or wrong, B? No service is asked.

As in the WILD framework (Yang et al. 2025), the verdict is a letter. Here it is not generated: the
log-probabilities of both letters are compared, in both orders.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from editcore.errors import ModelError
from editcore.evaluation.judges import Judge, Judged
from editcore.evaluation.judges.model_options import RIGHT, WRONG, ModelJudgeConfig
from editcore.evaluation.loglikelihood import Continuations, Pair
from editcore.models.batch_size import in_halves
from editcore.models.chat import turn_of
from editcore.models.loading import LoadedModel, load_spec
from editcore.models.tokenization import continuation_ids
from editcore.registry.registry import load_registry
from editcore.requests import WITHOUT_CHAT

LETTERS = ("A", "B")
# What A and B mean in each of the two orders, and the sign of log p(A) − log p(B) in favour of
# RIGHT.
ORDERS = ((RIGHT, WRONG, 1), (WRONG, RIGHT, -1))
# After the question if it is not asked in a chat, so that the letter is the next word.
CUE = "\nLetter:"


def judge(options: ModelJudgeConfig) -> Judge:
    """The model that the options name, loaded; raises `ModelError` if it cannot be."""
    loaded = load_spec(options.spec(), load_registry())
    chat = bool(loaded.tokenizer.chat_template) if options.chat is None else options.chat
    turn = turn_of(loaded.name, loaded.tokenizer) if chat else WITHOUT_CHAT
    return ModelJudge(replace(loaded, turn=turn), options)


@dataclass(frozen=True)
class ModelJudge:
    """A loaded model that judges answers, many in one pass; it is asked in its `turn`."""

    model: LoadedModel
    options: ModelJudgeConfig

    def __call__(self, answers: Sequence[Judged]) -> list[float | None]:
        """1 for answers whose `evidence` is positive, 0 for others, or the probability of right.

        The probability is 1 / (1 + exp(−evidence)).
        """
        found = self.evidence(answers)
        if self.options.probability:
            return [x if x is None else _sigmoid(x) for x in found]
        return [x if x is None else float(x > 0) for x in found]

    def evidence(self, answers: Sequence[Judged]) -> list[float | None]:
        """The mean over both orders of log p(letter of right) − log p(letter of wrong), in nats.

        The model's preference for one of the letters, whatever it means, has opposite signs in the
        two orders and cancels. None if the question does not fit into the model's positions, or if
        logits are not finite.
        """
        found: list[float | None] = []
        for _, part in in_halves(self._evidence, answers) if answers else ():
            found += part
        return found

    def _evidence(self, answers: Sequence[Judged]) -> list[float | None]:
        rows = [
            self._pairs(self.options.asked(judged, a, b))
            for judged in answers
            for a, b, _ in ORDERS
        ]
        fitting = [i for i, pairs in enumerate(rows) if all(map(self._fits, pairs))]
        scores = iter(Continuations(self.model, [p for i in fitting for p in rows[i]]).scores())
        gaps: list[float | None] = [None] * len(rows)
        for i in fitting:
            a, b = next(scores), next(scores)
            sign = ORDERS[i % len(ORDERS)][-1]
            if a.finite and b.finite:
                gaps[i] = sign * (a.log_probability - b.log_probability)
        first, second = gaps[::2], gaps[1::2]
        return [
            None if x is None or y is None else (x + y) / 2
            for x, y in zip(first, second, strict=True)
        ]

    def _pairs(self, asked: str) -> tuple[Pair, ...]:
        """What the model reads, with each letter after it, in tokens."""
        turn, tokenizer = self.model.turn, self.model.tokenizer
        prompt = asked + CUE if turn == WITHOUT_CHAT else turn.of(asked)
        ids = tuple(tokenizer(prompt, verbose=False)["input_ids"])
        gap = turn.gap_after(prompt)
        a, b = (continuation_ids(tokenizer, prompt, letter, gap) for letter in LETTERS)
        if a == b:
            raise ModelError(
                f"the model {self.options.source} has the same tokens for the letters "
                f"{' and '.join(LETTERS)}, so it cannot judge; choose another"
            )
        return ((ids, a), (ids, b))

    def _fits(self, pair: Pair) -> bool:
        context, letter = pair
        return len(context) + len(letter) - 1 <= self.model.max_positions


def _sigmoid(x: float) -> float:
    """1 / (1 + exp(−x)), without overflow."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
