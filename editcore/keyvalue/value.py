"""v*: the value that makes the model say the new object, for many cases at once.

Meng et al. 2022, eq. 4, as released: δ is added to the MLP's output (in MEMIT the block's, which
has the same effect) at the subject's last token under every template; Adam lowers the mean NLL of
the target, plus a KL term at the subject of "{subject} is a" and a term in ‖δ‖.
`editcore.keyvalue.value_search` makes it cheap.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from editcore.config.value_options import ValueOptions
from editcore.editing.editor import EditContext
from editcore.errors import RequestError
from editcore.keyvalue.keys import tokenize_templates
from editcore.models.batch_size import in_halves, tokens_per_search
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt, continuation, tokenize_prompt
from editcore.progress import progress_bar
from editcore.requests import EditRequest

__all__ = [
    "NONFINITE",
    "Value",
    "ValueOptions",
    "ValueProblem",
    "find_values",
    "of_each",
    "optimise",
    "pose",
]

KL_TEMPLATE = "{} is a"
NONFINITE = "the search for v* met a non-finite loss; nothing was edited"


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

    @property
    def tokens(self) -> int:
        """Tokens that run again in every step of the search, padding counted."""
        return (len(self.prompts) + 1) * self.suffix


def pose(model: LoadedModel, request: EditRequest, templates: Sequence[str]) -> ValueProblem:
    """Tokenise a request.

    `RequestError` where subject or target cannot be placed, or all is longer than the model takes.
    """
    if request.flaw:
        raise RequestError(request.flaw)
    tokenizer = model.tokenizer
    prompts = tuple(tokenize_templates(model, request, templates))
    target = continuation(tokenizer, request.text, request.target_new)
    longest = max(len(prompt.ids) for prompt in prompts) + len(target) - 1
    if longest > model.max_positions:
        raise RequestError(
            f"the prompt {request.text!r} takes {longest} tokens behind its longest template, and "
            f"the model has {model.max_positions} positions; shorten it"
        )
    return ValueProblem(prompts, tokenize_prompt(tokenizer, KL_TEMPLATE, request.subject), target)


def of_each(
    context: EditContext, requests: Sequence[EditRequest], options: ValueOptions
) -> list[Value | str]:
    """v* of each request, or the reason why there is none: from the context's artefact, or found.

    An artefact holds for the unedited model, so that a sequence of edits runs without one.
    """
    assert context.prefixes is not None
    stored = context.values.get(options, {})
    missing = [request for request in requests if request.case_id not in stored]
    templates = context.prefixes.templates
    found = iter(find_values(context.model, missing, templates, options) if missing else ())
    return [stored[r.case_id] if r.case_id in stored else next(found) for r in requests]


def find_values(
    model: LoadedModel,
    requests: Sequence[EditRequest],
    templates: Sequence[str],
    options: ValueOptions,
) -> list[Value | str]:
    """v* of each request, or the reason why there is none; all are searched for together."""
    posed = [_pose(model, request, templates) for request in requests]
    places = [i for i, problem in enumerate(posed) if isinstance(problem, ValueProblem)]
    problems = [problem for problem in posed if isinstance(problem, ValueProblem)]
    found: dict[int, Value | str] = {i: p for i, p in enumerate(posed) if isinstance(p, str)}
    values = optimise(model, problems, options)
    several = len(problems) > 1
    bar = progress_bar(values, total=len(problems), title="v*", unit="case", shown=several)
    for i, value in bar:
        found[places[i]] = value if math.isfinite(value.loss) else NONFINITE
    return [found[i] for i in range(len(requests))]


def _pose(model: LoadedModel, request: EditRequest, templates: Sequence[str]) -> ValueProblem | str:
    try:
        return pose(model, request, templates)
    except RequestError as error:
        return str(error)


def optimise(
    model: LoadedModel,
    problems: Sequence[ValueProblem],
    options: ValueOptions,
    *,
    tokens_per_batch: int | None = None,
) -> Iterator[tuple[int, Value]]:
    """Yield (index, v*) of every problem as they are found; each gets what it would get alone.

    Problems of like suffix are optimised together, at most `tokens_per_batch` tokens of suffix in
    one batch; by default as many as the memory budget of `editcore.models.batch_size` allows.
    """
    from editcore.keyvalue.value_search import ValueSearch

    budget = tokens_per_batch or tokens_per_search(model, options.layer)
    order = sorted(range(len(problems)), key=lambda i: (problems[i].suffix, i))

    def search(batch: Sequence[int]) -> list[tuple[int, Value]]:
        running = ValueSearch(model, [problems[i] for i in batch], options)
        return [(batch[case], value) for case, value in running.run()]

    for batch in _batches(problems, order, budget):
        for _, found in in_halves(search, batch):
            yield from found


def _batches(
    problems: Sequence[ValueProblem], order: Sequence[int], budget: int
) -> Iterator[list[int]]:
    batch: list[int] = []
    rows = 0
    for i in order:
        rows += len(problems[i].prompts) + 1
        if batch and rows * problems[i].suffix > budget:
            yield batch
            batch, rows = [], len(problems[i].prompts) + 1
        batch.append(i)
    if batch:
        yield batch
