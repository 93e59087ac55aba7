"""The search for v*, batched over cases, in which no step repeats what does not change.

Rows are padded on the left, so that all share the columns from the subject on; the tokens before
them are read once and kept as a KV cache. Blocks before the edited one never run again, nor does
that one if δ joins the residual stream unchanged. The head and the last block's MLP run only at
places where a token is predicted. Cases that have ended leave the batch. None of this changes a
result.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from editcore.config.value_options import ValueOptions
from editcore.errors import in_one_line
from editcore.keyvalue.row_adam import RowAdam
from editcore.keyvalue.value import NONFINITE, Value, ValueProblem, pose
from editcore.keyvalue.value_rows import Rows, find_places
from editcore.models import hooks
from editcore.models.arithmetic.head import KnownLogits
from editcore.models.batch_size import SearchSize, in_halves, search_budget
from editcore.models.kv_cache import KeysValues, cache, held, read_after, shape_only
from editcore.models.loading import LoadedModel
from editcore.models.memory import give_back
from editcore.models.tokenization import pad_rows
from editcore.progress import progress_bar
from editcore.requests import EditRequest

# Leaving cases out costs a copy of what remains; it pays once a quarter of them have ended.
WORTH_SHRINKING = 0.75


@dataclass
class _Running:
    """The cases still in the batch, by their index in it, and the state of their search.

    `alive` are those that have not ended; the others are dropped when that is worth the copy.
    `agreed` is the number of steps in which a case's templates agreed on its target. `known` are
    the logits at δ = 0, where the head is rounded.
    """

    rows: Rows
    cases: Int[Tensor, " case"]
    initial: Float[Tensor, "case d_model"]
    alive: Bool[Tensor, " case"]
    agreed: Int[Tensor, " case"]
    adam: RowAdam
    kl_before: Float[Tensor, "case vocabulary"] | None = None
    known: KnownLogits | None = None

    @property
    def delta(self) -> Float[Tensor, "case d_model"]:
        """δ."""
        return self.adam.tensors[0]

    def value(self, place: int, step: int, loss: float) -> Value:
        """The current v* of the case at a place."""
        return Value(self.initial[place], self.delta.detach()[place].clone(), step, loss)

    def shrink(self) -> None:
        """Drop the cases that have ended."""
        kept = self.alive.nonzero()[:, 0]
        scored = torch.cat([self.alive[self.rows.places.case], self.alive])
        self.known = None if self.known is None else self.known.at(scored)
        self.rows = self.rows.keep(kept)
        self.adam.keep(kept)
        self.cases, self.initial = self.cases[kept], self.initial[kept]
        self.alive, self.agreed = self.alive[kept], self.agreed[kept]
        self.kl_before = None if self.kl_before is None else self.kl_before[kept]


class ValueSearch:
    """The joint optimisation of one batch: what is constant is computed first, then the steps."""

    def __init__(
        self, model: LoadedModel, problems: Sequence[ValueProblem], options: ValueOptions
    ) -> None:
        self._model, self._options = model.frozen, options
        joins = options.site == "block" or model.anatomy.joins
        self._settled = options.layer if joins else options.layer - 1
        self._sampled = len(problems[0].prompts) - 1
        initial = _initial(model, problems, options)
        every = torch.arange(len(problems), device=model.device)
        self._running = _Running(
            self._lay_out(problems),
            every,
            initial,
            torch.ones_like(every, dtype=torch.bool),
            torch.zeros_like(every),
            RowAdam([torch.zeros_like(initial)], options.learning_rate),
        )

    @torch.no_grad()
    def _lay_out(self, problems: Sequence[ValueProblem]) -> Rows:
        """All rows, each case's templates first and its KL prompt last, up to the edited block."""
        model = self._model
        suffix = max(problem.suffix for problem in problems)
        texts, cases, subjects, kl = [], [], [], []
        for case, problem in enumerate(problems):
            given = [(p.ids + problem.target[:-1], p.subject) for p in problem.prompts]
            given.append((problem.kl_prompt.ids, problem.kl_prompt.subject))
            texts += [row for row, _ in given]
            subjects += [suffix - len(row) + subject for row, subject in given]
            cases += [case] * len(given)
            kl.append(len(texts) - 1)
        padded = pad_rows(texts, model.pad_id, "left", model.device)
        head = padded.length - suffix
        ids, mask, positions = padded.ids[:, head:], padded.mask, padded.positions[:, head:]
        with model.arithmetic():
            past = _attention_of(model, [row[:-suffix] for row in texts], head) if head else []
            states = self._states(ids, mask, positions, past)
        return Rows(
            ids,
            mask,
            positions,
            torch.tensor(cases, device=model.device),
            torch.tensor(subjects, device=model.device),
            torch.tensor(kl, device=model.device),
            states,
            _forget(past, self._settled),
            find_places(problems, suffix, model.device),
        )

    def _states(
        self, ids: Tensor, mask: Tensor, positions: Tensor, past: KeysValues
    ) -> Float[Tensor, "row position d_model"] | None:
        """The states of the suffix after the last block that does not run again."""
        if self._settled < 0:
            return None
        with hooks.recording(self._model.parts.block(self._settled), stop=True) as block:
            read_after(self._model.model, ids, mask, positions, cache(past))
        return block.output

    def run(self) -> Iterator[tuple[int, Value]]:
        """Yield (index, v*) as cases end: at the last step, or by their loss or templates.

        Adam and the clamp of ‖δ‖ act on each case alone; a non-finite loss ends its case alone.
        """
        options, now = self._options, self._running
        for step in range(1, options.steps + 1):
            now.delta.requires_grad_()
            with self._model.arithmetic():
                losses = self._losses(now)
            found = losses.detach()
            below = (found < options.stop_loss) | ~found.isfinite()
            if options.agreement_steps is not None:
                below |= now.agreed >= options.agreement_steps
            ended = now.alive & (below | (step == options.steps))
            for i in ended.nonzero()[:, 0].tolist():
                yield int(now.cases[i]), now.value(i, step, float(found[i]))
            now.alive = now.alive & ~ended
            if not now.alive.any():
                return
            (gradient,) = torch.autograd.grad(losses.sum(), now.delta)
            limit = options.clamp_norm_factor * now.initial.norm(dim=1, keepdim=True)
            with torch.no_grad():
                now.adam.step([gradient])
                _clamp(now.delta, limit)
                if now.alive.float().mean() <= WORTH_SHRINKING:
                    now.shrink()

    def _losses(self, now: _Running) -> Float[Tensor, " case"]:
        """The loss of every case."""
        options, places = self._options, now.rows.places
        scores = self._scores(now)
        predicted, last = scores.split([len(places.row), len(now.cases)])
        after = last.log_softmax(-1)
        if now.kl_before is None:  # δ is 0: the model is still as it was before
            now.kl_before = after.detach()
        if options.agreement_steps is not None:
            now.agreed = now.agreed + self._agree(now, predicted)
        nll = cross_entropy(predicted, places.token, reduction="none") * places.weight
        target = nll.new_zeros(len(now.cases)).index_add(0, places.case, nll)
        kl = (after.exp() * (after - now.kl_before)).sum(-1)
        decay = now.delta.norm(dim=1) / now.initial.norm(dim=1) ** 2
        losses: Tensor = target + options.kl_factor * kl + options.weight_decay * decay
        return losses

    def _agree(
        self, now: _Running, predicted: Float[Tensor, "place vocabulary"]
    ) -> Bool[Tensor, " case"]:
        """Whether the target's tokens are the likeliest under every template of a case."""
        places, counts = now.rows.places, torch.zeros_like(now.cases)
        right = predicted.argmax(-1) == places.token
        if self._options.agreement == "templates":
            return counts.index_add(0, places.case, (~right).long()) == 0
        hits = counts.index_add(0, places.case, (right & places.sampled).long())
        return (hits == self._sampled) & (hits > 0)

    def _scores(self, now: _Running) -> Float32[Tensor, "place_and_case vocabulary"]:
        """Logits in float32, with δ in place, at the target's places and then at the KL rows'."""
        parts, layer, rows = self._model.parts, self._options.layer, now.rows
        row = torch.cat([rows.places.row, rows.kl])
        column = torch.cat([rows.places.column, rows.subject[rows.kl]])
        with self._edited(rows, now.delta), ExitStack() as stack:
            if layer < parts.depth - 1 and parts.anatomy.mlp != parts.anatomy.down:
                last = parts.mlp(parts.depth - 1)
                stack.enter_context(hooks.only_at(last, row, column))
            hidden = read_after(
                self._model.model, rows.ids, rows.mask, rows.positions, cache(rows.past)
            )
        states = hidden[row, column]
        if now.known is not None:
            return parts.logits_near(now.known, states)
        logits = parts.logits(states).float()
        if parts.head_is_rounded:
            now.known = KnownLogits(states.detach(), logits.detach())
        return logits

    @contextmanager
    def _edited(self, rows: Rows, delta: Float[Tensor, "case d_model"]) -> Iterator[None]:
        """A block in which passes have δ in place."""
        parts, settled = self._model.parts, self._settled
        added = delta[rows.case]
        if settled == self._options.layer:
            assert rows.states is not None
            every = torch.arange(len(added), device=delta.device)
            place, more = (every, rows.subject), added.to(rows.states.dtype)
            states = rows.states.index_put(place, more, accumulate=True)
            with hooks.resuming_after(parts, settled, states):
                yield
            return
        with (
            hooks.resuming_after(parts, settled, rows.states),
            hooks.adding(parts.down(self._options.layer), rows.subject, added),
        ):
            yield


def _clamp(delta: Float[Tensor, "case d_model"], limit: Float[Tensor, "case 1"]) -> None:
    norm = delta.norm(dim=1, keepdim=True)
    delta.copy_(torch.where(norm > limit, delta * (limit / norm), delta))


@torch.no_grad()
def _initial(
    model: LoadedModel, problems: Sequence[ValueProblem], options: ValueOptions
) -> Float32[Tensor, "case d_model"]:
    """The site's output under the bare prompt, to which δ is added."""
    parts, layer = model.parts, options.layer
    site = parts.mlp(layer) if options.site == "mlp" else parts.block(layer)
    bare = [problem.prompts[0] for problem in problems]
    rows = pad_rows([p.ids[: p.subject + 1] for p in bare], model.pad_id, "right", model.device)
    with hooks.recording(site, stop=True) as seen:
        model.model(input_ids=rows.ids, attention_mask=rows.mask, use_cache=False)
    assert seen.output is not None
    return seen.output[torch.arange(len(bare)), [p.subject for p in bare]].float()


def _attention_of(
    model: LoadedModel, prefixes: Sequence[tuple[int, ...]], length: int
) -> KeysValues:
    """The KV cache of `[rows, length]` tokens, layer by layer.

    Many cases share their prefixes, which are the templates; each is read once.
    """
    unique = {prefix: i for i, prefix in enumerate(dict.fromkeys(prefixes))}
    rows = pad_rows([*unique], model.pad_id, "left", model.device, length)
    known = cache([])
    read_after(model.model, rows.ids, rows.mask, rows.positions, known)
    back = torch.tensor([unique[prefix] for prefix in prefixes], device=model.device)
    return [(keys[back], values[back]) for keys, values in held(known)]


def _forget(past: KeysValues, layer: int) -> KeysValues:
    """Free the KV cache of blocks up to `layer`, which do not run again; its length remains."""
    return [
        shape_only(keys, values) if i <= layer else (keys, values)
        for i, (keys, values) in enumerate(past)
    ]


def find_values(
    model: LoadedModel,
    requests: Sequence[EditRequest],
    templates: Sequence[str],
    options: ValueOptions,
) -> list[Value | str]:
    """v* of each request, or the reason why there is none.

    The search is joint; if the model raises an error, each case that is left is searched alone, so
    that a case that fails affects no other.
    """
    posed = [_pose(model, request, templates) for request in requests]
    places = [i for i, problem in enumerate(posed) if isinstance(problem, ValueProblem)]
    problems = [problem for problem in posed if isinstance(problem, ValueProblem)]
    found: dict[int, Value | str] = {i: p for i, p in enumerate(posed) if isinstance(p, str)}
    values = _each(model, problems, options)
    several = len(problems) > 1
    bar = progress_bar(values, total=len(problems), title="v*", unit="case", shown=several)
    for i, value in bar:
        found[places[i]] = value
    return [found[i] for i in range(len(requests))]


def _pose(model: LoadedModel, request: EditRequest, templates: Sequence[str]) -> ValueProblem | str:
    try:
        return pose(model, request, templates)
    except Exception as error:  # a tokenizer of a third party may raise anything
        return in_one_line(error)


def _each(
    model: LoadedModel, problems: Sequence[ValueProblem], options: ValueOptions
) -> Iterator[tuple[int, Value | str]]:
    left = dict(enumerate(problems))
    try:
        for i, value in optimise(model, problems, options):
            del left[i]
            yield i, value if math.isfinite(value.loss) else NONFINITE
    except Exception as error:  # a model's code may raise anything
        for i, problem in left.items():
            alone = in_one_line(error) if len(problems) == 1 else _alone(model, problem, options)
            yield i, alone


def _alone(model: LoadedModel, problem: ValueProblem, options: ValueOptions) -> Value | str:
    return next(_each(model, [problem], options))[1]


def optimise(
    model: LoadedModel,
    problems: Sequence[ValueProblem],
    options: ValueOptions,
    *,
    bytes_per_batch: int | None = None,
) -> Iterator[tuple[int, Value]]:
    """Yield (index, v*) of every problem as it is found; each gets what it would get alone.

    Problems with suffixes of similar length are optimised together, as many as `bytes_per_batch`
    allows; by default it is `search_budget`.
    """
    limit = bytes_per_batch or search_budget(model.device)
    size = SearchSize.of(model, options.layer)
    order = sorted(range(len(problems)), key=lambda i: (problems[i].suffix, i))

    def search(batch: Sequence[int]) -> list[tuple[int, Value]]:
        running = ValueSearch(model, [problems[i] for i in batch], options)
        return [(batch[case], value) for case, value in running.run()]

    for batch, taken in _batches(problems, order, size, limit):
        for _, found in in_halves(search, batch):
            yield from found
        give_back(taken)


def _batches(
    problems: Sequence[ValueProblem], order: Sequence[int], size: SearchSize, limit: int
) -> Iterator[tuple[list[int], int]]:
    """Batches of problems by index, each with the bytes that its search takes."""
    batch: list[int] = []
    extent = _Extent()
    for i in order:
        own = _Extent.of(problems[i])
        if batch and extent.joined(own).bytes(size) > limit:
            yield batch, extent.bytes(size)
            batch, extent = [], _Extent()
        batch.append(i)
        extent = extent.joined(own)
    if batch:
        yield batch, extent.bytes(size)


@dataclass(frozen=True)
class _Extent:
    """The rows of a batch, the columns that run again, all columns, and the predicted tokens."""

    rows: int = 0
    again: int = 0
    whole: int = 0
    predicted: int = 0

    @classmethod
    def of(cls, problem: ValueProblem) -> "_Extent":
        """That of one problem."""
        templates = len(problem.prompts)
        predicted = templates * len(problem.target) + 1
        return cls(templates + 1, problem.suffix, problem.length, predicted)

    def joined(self, other: "_Extent") -> "_Extent":
        """That of both, padded to one length."""
        again, whole = max(self.again, other.again), max(self.whole, other.whole)
        return _Extent(self.rows + other.rows, again, whole, self.predicted + other.predicted)

    def bytes(self, size: SearchSize) -> int:
        """What its search takes."""
        row = self.again * size.again + self.whole * size.whole
        return self.rows * row + self.predicted * size.predicted
