"""What was exported is loaded again and compared with the edited model, before it is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.collapse.verdict import judge
from editcore.config.collapse import CollapseSection, replaced
from editcore.errors import DataError, ModelError
from editcore.evaluation.perplexity import EditedPerplexity, measure_unedited
from editcore.models.loading import ANY_TEXT, LoadedModel, load_model
from editcore.numbers import in_percent, number, plural
from editcore.planning.jobs import PerplexitySpec
from editcore.runs.prepare import Say
from editcore.updates.adapters import gguf_layout
from editcore.updates.adapters.base import Base
from editcore.updates.adapters.factors import LoraFactors
from editcore.updates.adapters.peft_layout import adapted, merged
from editcore.updates.delta import Delta
from editcore.updates.saved.origin import Origin
from editcore.updates.saved.stored_weights import stored_name, stored_weights
from editcore.updates.saved.weight_change import as_tensor

# The largest difference of a logit, relative to the largest logit (or to 1). An adapter adds B(Ax)
# to Wx, an edited weight is W + BA, and float32 rounds the two differently.
LIMIT = 1e-5
# The same of an adapter that is merged, so that both weights are W + BA. It is absolute, unless
# logits are so large that it would be less than some steps of float32.
LIMIT_MERGED, STEPS = 1e-5, 3


@dataclass(frozen=True)
class Grader:
    """Grades the model as it is now against its unedited self, as `check` does."""

    edited: EditedPerplexity
    unedited: float
    rule: CollapseSection

    @classmethod
    def of(cls, model: LoadedModel, origin: Origin) -> "Grader":
        """Measures with the texts and the rule of the edit; `DataError` if there are none."""
        if origin.perplexity is None:
            raise DataError("the delta names no texts")
        spec = PerplexitySpec(**origin.perplexity.model_dump())
        texts, before = measure_unedited(model, spec)
        given = origin.verdict.rule if origin.verdict else None
        rule = replaced(CollapseSection(), given or {})
        edited = EditedPerplexity(model, texts, before.predictions)
        return cls(edited, before.perplexity.mean, rule)

    def grade(self) -> str:
        """The grade."""
        now = self.edited.now(0)
        assert now.disturbance is not None
        return str(judge(now.mean, self.unedited, self.rule, now.disturbance.kept).grade)


@dataclass(frozen=True)
class AdapterProof:
    """How a model with its adapter compares with the model whose weights carry the edit.

    `difference` is the largest of any logit at `tokens` tokens, `merged` the same once peft has
    merged the adapter into the weights, and `largest` the largest logit. `error` is
    ‖ΔW − BA‖ / ‖ΔW‖. `grade` is that of both models, or None if it was not measured: `ungraded` is
    why.
    """

    difference: float
    merged: float
    largest: float
    tokens: int
    error: float
    grade: str | None
    ungraded: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        grade = (
            f"the grade is {self.grade}, as with the edit in the weights"
            if self.grade
            else f"the grade was not compared, because {self.ungraded}"
        )
        return (
            f"{_nearness(self.error)}loaded again with peft, no logit at "
            f"{plural(self.tokens, 'token')} differs by more than {number(self.difference)} from "
            f"the edited model's (the largest is {number(self.largest)}), and none "
            f"{f'by more than {number(self.merged)}' if self.merged else 'at all'} once peft has "
            f"merged it into the weights; {grade}; unloaded, the base has its own weights again, "
            "bit by bit"
        )


@dataclass(frozen=True)
class Bench:
    """A base in memory, in float32, on which adapters are compared with edited weights."""

    model: LoadedModel
    grader: Grader | None
    ungraded: str = ""

    @classmethod
    def open(cls, base: Base, origin: Origin, say: Say) -> "Bench":
        """Load the base; it is graded with the texts that the delta names, if they are there."""
        say(f"load {base.name}")
        model = load_model(base.name, str(base.folder))
        try:
            say("measure it before the edit")
            return cls(model, Grader.of(model, origin))
        except DataError as error:
            return cls(model, None, str(error))

    def prove(
        self, delta: Delta, factors: LoraFactors, adapter: Path, texts: Sequence[str]
    ) -> AdapterProof:
        """Load an adapter with peft and compare it with the edit; afterwards it is unloaded.

        The logits at `texts`, with the adapter beside the weights and merged into them, are
        compared with those under its own B·A in the weights, the grade with that under `delta`.
        Raises `ModelError` if they differ, or if the weights are not bit by bit as before.
        """
        own = self.model.model
        before = parameter_digests(own)
        with factors.delta.applied(own):
            expected = self._logits(texts)
        with delta.applied(own):
            wanted = self._grade()
        with adapted(own, adapter) as loaded:
            with merged(loaded):
                in_weights = self._distance(texts, expected)
            difference, given = self._distance(texts, expected), self._grade()
        if parameter_digests(own) != before:
            raise ModelError("the adapter, unloaded by peft, left other weights than the base's")
        largest = float(expected.abs().max())
        _require_near(difference, LIMIT * max(1.0, largest), largest, "")
        some_steps = STEPS * torch.finfo(torch.float32).eps * largest
        _require_near(in_weights, max(LIMIT_MERGED, some_steps), largest, ", merged by peft,")
        if wanted != given:
            raise ModelError(
                f"the adapter is not the edit: its grade is {given}, and the edited model's is "
                f"{wanted} (‖ΔW − BA‖ is {in_percent(factors.error)} of ‖ΔW‖); give a higher --rank"
            )
        logits = (difference, in_weights, largest, len(expected))
        return AdapterProof(*logits, factors.error, given, self.ungraded)

    def _distance(self, texts: Sequence[str], expected: Float[Tensor, "token vocabulary"]) -> float:
        """By how much any logit of the model as it is now differs from the expected one."""
        return float((self._logits(texts) - expected).abs().max())

    @torch.no_grad()
    def _logits(self, texts: Sequence[str]) -> Float[Tensor, "token vocabulary"]:
        """The logits at all tokens of some texts, and of one that no edit is about."""
        model, rows = self.model, []
        for text in (*texts, ANY_TEXT):
            ids = model.tokenizer(text)["input_ids"][: model.max_positions]
            row = torch.tensor([ids], device=model.device)
            rows.append(model.model(input_ids=row, use_cache=False).logits[0])
        return torch.cat(rows)

    def _grade(self) -> str | None:
        return None if self.grader is None else self.grader.grade()


def _require_near(difference: float, limit: float, largest: float, when: str) -> None:
    if not difference <= limit:
        raise ModelError(
            f"the adapter{when} is not the edit: a logit differs by {number(difference)}, and the "
            f"largest is {number(largest)}; export the edited model instead (--format model)"
        )


def prove_gguf(factors: LoraFactors, folder: Path, names: Mapping[str, str]) -> str:
    """Read an adapter for llama.cpp again; what was proved, as a clause.

    Raises `ModelError` unless its B·A has the same factors, bit by bit.
    """
    read = gguf_layout.read_adapter(folder / gguf_layout.FILE, names)
    for name, update in factors.updates.items():
        again = read.updates[name]
        if not all(torch.equal(vars(again)[part], own) for part, own in vars(update).items()):
            off = float((again.dense() - update.dense()).norm())
            raise ModelError(
                f"the change of {name}, read again, differs by {number(off)} from the edit's, "
                f"whose norm is {number(update.norm())}; check the disk, and try again"
            )
    return (
        f"{_nearness(factors.error)}read again with gguf, ΔW is that of the adapter, bit by bit "
        "(llama.cpp itself was not run)"
    )


def prove_model(folder: Path, source: Path, delta: Delta, new: Mapping[str, bytes]) -> str:
    """Read an edited model's folder again; what was proved, as a clause.

    Raises `ModelError` unless its files have the bytes of `new` in place of the source's, and
    transformers loads exactly these.
    """
    places, sources = stored_weights(folder), stored_weights(source)
    for key, place in places.items():
        if place.read() != (new[key] if key in new else sources[key].read()):
            raise ModelError(f"{key}, read again, is not what was written; check the disk")
    model = load_model(folder.name, str(folder))
    for name in delta.updates:
        key = stored_name([name], model.model.base_model_prefix, places, folder)
        stored = as_tensor(key, places[key], places[key].read())
        loaded = model.model.get_parameter(name)
        if not torch.equal(loaded, stored.to(loaded)):
            off = float((loaded - stored.to(loaded)).norm())
            raise ModelError(f"transformers loads {name} with other numbers (off by {number(off)})")
    count = plural(len(new), "weight")
    return (
        f"loaded again with transformers, {count} of {len(places)} changed, and all are bit by bit "
        "those that `editcore apply` writes"
    )


def parameter_digests(model: torch.nn.Module) -> dict[str, str]:
    """SHA-256 of each parameter's bytes, by name."""
    return {
        name: sha256(
            p.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
        ).hexdigest()
        for name, p in model.named_parameters()
    }


def _nearness(error: float) -> str:
    return f"‖ΔW − BA‖ is {in_percent(error)} of ‖ΔW‖; " if error else ""
