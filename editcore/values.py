"""v*: the value that makes the model say the new object, for many cases at once.

Meng et al. 2022, eq. 4, as released: δ is added to the MLP's output (in MEMIT the block's, which
has the same effect) at the subject's last token under every template; Adam lowers the mean NLL of
the target, plus a KL term at the subject of "{subject} is a" and a term in ‖δ‖. Three things make
it cheap, and leave the result as it is: rows are padded on the left, so that all share the columns
from the subject on, and what stands before them enters as constant attention keys and values;
blocks up to the edited one never run again, since δ is added to the residual stream as it is;
the head runs only where a token is predicted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from editcore import trace
from editcore.keys import fill
from editcore.models import LoadedModel
from editcore.requests import EditRequest
from editcore.tokens import PaddedRows, TokenizedPrompt, continuation, pad, tokenize_prompt

KL_TEMPLATE = "{} is a"


@dataclass(frozen=True)
class ValueOptions:
    """Hyper-parameters of the search for v*; the defaults are the published ones.

    v* is a value of the MLP's output (ROME) or of the block's (MEMIT). Both are added to the same
    residual stream, so δ has the same effect; what differs is where it starts from.
    """

    layer: int
    site: Literal["mlp", "block"] = "mlp"
    steps: int = 20
    learning_rate: float = 0.5
    weight_decay: float = 0.5
    kl_factor: float = 0.0625
    clamp_norm_factor: float = 4.0
    stop_loss: float = 5e-2


@dataclass(frozen=True)
class Value:
    """v* = initial + delta for one case, `[d_model]` float32, with how the search ended."""

    initial: torch.Tensor
    delta: torch.Tensor
    steps: int
    loss: float

    @property
    def target(self) -> torch.Tensor:
        """v*, `[d_model]`."""
        return self.initial + self.delta


@dataclass(frozen=True)
class ValueProblem:
    """One case in tokens: its prompt under every template, the KL prompt, and the target's ids."""

    prompts: tuple[TokenizedPrompt, ...]
    kl_prompt: TokenizedPrompt
    target: tuple[int, ...]

    @property
    def suffix(self) -> int:
        """Columns from the subject's last token to the end of the row, the most over all rows."""
        spans = [len(p.ids) - p.subject + len(self.target) - 1 for p in self.prompts]
        return max(*spans, len(self.kl_prompt.ids) - self.kl_prompt.subject)


def pose(model: LoadedModel, request: EditRequest, templates: Sequence[str]) -> ValueProblem:
    """Tokenise a request; `RequestError` where subject or target cannot be placed."""
    tokenizer = model.tokenizer
    prompts = tuple(
        tokenize_prompt(tokenizer, fill(template, request.prompt), request.subject)
        for template in templates
    )
    return ValueProblem(
        prompts,
        tokenize_prompt(tokenizer, KL_TEMPLATE, request.subject),
        continuation(tokenizer, request.text, request.target_new),
    )


def optimise(
    model: LoadedModel,
    problems: Sequence[ValueProblem],
    options: ValueOptions,
    *,
    tokens_per_batch: int = 4096,
) -> Iterator[Value]:
    """Yield v* for every problem, in order; each gets what it would get alone.

    Neighbouring problems are optimised together as long as their suffixes hold at most
    `tokens_per_batch` tokens, which bounds the memory.
    """
    for batch in _batches(problems, tokens_per_batch):
        yield from _Search(model, batch, options).run()


def _batches(
    problems: Sequence[ValueProblem], tokens_per_batch: int
) -> Iterator[list[ValueProblem]]:
    batch: list[ValueProblem] = []
    for problem in problems:
        joined = [*batch, problem]
        rows = sum(len(p.prompts) + 1 for p in joined)
        if batch and rows * max(p.suffix for p in joined) > tokens_per_batch:
            yield batch
            joined = [problem]
        batch = joined
    if batch:
        yield batch


class _Search:
    """The joint optimisation of one batch: constants first, then the steps.

    Rows are ordered case by case, each case's templates first and its KL prompt last. Only the last
    `self._suffix` columns run again in a step.
    """

    def __init__(
        self, model: LoadedModel, problems: Sequence[ValueProblem], options: ValueOptions
    ) -> None:
        self._model, self._problems, self._options = model, problems, options
        self._suffix = max(problem.suffix for problem in problems)
        self._lay_out_rows()
        self._run_constants()

    def _lay_out_rows(self) -> None:
        """Token rows, and each predicted token's row, column, id, case and weight in the loss."""
        rows: list[tuple[int, ...]] = []
        case_of_row, subject_from_end = [], []
        where: list[tuple[int, int, int, int, float]] = []
        self._kl_rows = []
        for case, problem in enumerate(self._problems):
            for prompt in problem.prompts:
                row, ids = len(rows), prompt.ids + problem.target[:-1]
                weight = 1 / (len(problem.prompts) * len(problem.target))
                first = self._suffix - len(problem.target)
                where += [(row, first + i, t, case, weight) for i, t in enumerate(problem.target)]
                rows.append(ids)
                subject_from_end.append(len(ids) - prompt.subject)
            self._kl_rows.append(len(rows))
            rows.append(problem.kl_prompt.ids)
            subject_from_end.append(len(problem.kl_prompt.ids) - problem.kl_prompt.subject)
            case_of_row += [case] * (len(problem.prompts) + 1)
        device = self._model.device
        self._rows = pad(rows, self._model.pad_id, "left", device)
        self._case_of_row = torch.tensor(case_of_row, device=device)
        self._subject = self._suffix - torch.tensor(subject_from_end, device=device)
        columns = list(zip(*where, strict=True))
        self._row, self._column, self._token, self._case = (
            torch.tensor(column, device=device) for column in columns[:4]
        )
        self._weight = torch.tensor(columns[4], device=device)

    @torch.no_grad()
    def _run_constants(self) -> None:
        """Attention of the prefix, the edited block's input, and what δ starts from."""
        model, layer, rows = self._model, self._options.layer, self._rows
        head = rows.length - self._suffix
        self._prefix = _attention_of(model, rows, head) if head else []
        kl_index = torch.tensor(self._kl_rows, device=model.device)
        with (
            trace.recording(model.layout.mlp(layer)) as mlp,
            trace.recording(model.layout.block(layer)) as block,
        ):
            hidden = self._forward()
        assert mlp.output is not None and block.output is not None
        self._states = block.output
        bare = kl_index - torch.tensor(
            [len(p.prompts) for p in self._problems], device=model.device
        )
        seen = mlp if self._options.site == "mlp" else block
        assert seen.output is not None
        self._initial = seen.output[bare, self._subject[bare]].float()
        self._kl_index = kl_index
        self._kl_before = self._log_probabilities(hidden, kl_index, self._subject[kl_index])

    def _forward(self) -> torch.Tensor:
        """Hidden states of the suffix, `[rows, suffix, d_model]`, from the whole model."""
        rows, suffix = self._rows, self._suffix
        output = self._model.model.base_model(
            input_ids=rows.ids[:, -suffix:],
            attention_mask=rows.mask,
            position_ids=rows.positions[:, -suffix:],
            past_key_values=_cache(self._prefix),
            use_cache=True,
        )
        states: torch.Tensor = output.last_hidden_state
        return states

    def _log_probabilities(
        self, hidden: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        """Log-probabilities `[n, vocabulary]` at n places, in float32."""
        return self._model.layout.logits(hidden[rows, columns]).float().log_softmax(-1)

    def _losses(self, delta: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Per case: the whole loss, and the same for the step's record, `[cases]`."""
        layout, options = self._model.layout, self._options
        where = (torch.arange(len(self._subject), device=delta.device), self._subject)
        added = delta[self._case_of_row].to(self._states.dtype)
        states = self._states.index_put(where, added, accumulate=True)
        with trace.resuming_behind(layout, options.layer, states):
            hidden = self._forward()
        predicted = self._log_probabilities(hidden, self._row, self._column)
        nll = -predicted.gather(1, self._token[:, None])[:, 0] * self._weight
        target = torch.zeros(len(self._problems), device=nll.device).index_add(0, self._case, nll)
        after = self._log_probabilities(hidden, self._kl_index, self._subject[self._kl_index])
        kl = (after.exp() * (after - self._kl_before)).sum(-1)
        decay = delta.norm(dim=1) / self._initial.norm(dim=1) ** 2
        loss = target + options.kl_factor * kl + options.weight_decay * decay
        return loss, loss.detach()

    def run(self) -> list[Value]:
        """Adam with norm clamp and early stop per case; a non-finite loss stops its case alone."""
        options, cases = self._options, len(self._problems)
        delta = torch.zeros_like(self._initial, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=options.learning_rate)
        limit = options.clamp_norm_factor * self._initial.norm(dim=1, keepdim=True)
        found: list[Value | None] = [None] * cases
        for step in range(options.steps):
            losses, record = self._losses(delta)
            last = step == options.steps - 1
            for case in range(cases):
                done = last or record[case] < options.stop_loss or not record[case].isfinite()
                if found[case] is None and done:
                    found[case] = Value(
                        self._initial[case],
                        delta.detach()[case].clone(),
                        step + 1,
                        float(record[case]),
                    )
            if all(value is not None for value in found):
                break
            (delta.grad,) = torch.autograd.grad(losses.sum(), delta)
            adam.step()
            with torch.no_grad():
                norm = delta.norm(dim=1, keepdim=True)
                delta.copy_(torch.where(norm > limit, delta * (limit / norm), delta))
        return [value for value in found if value is not None]


@torch.no_grad()
def _attention_of(
    model: LoadedModel, rows: PaddedRows, columns: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Attention keys and values of the first `columns` columns, layer by layer."""
    output = model.model.base_model(
        input_ids=rows.ids[:, :columns],
        attention_mask=rows.mask[:, :columns],
        position_ids=rows.positions[:, :columns],
        past_key_values=DynamicCache(),
        use_cache=True,
    )
    return [(layer.keys, layer.values) for layer in output.past_key_values.layers]


def _cache(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> DynamicCache:
    """A cache that starts with given keys and values; growing it leaves those alone."""
    cache = DynamicCache()
    for keys, values in pairs:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache
