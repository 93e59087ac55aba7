"""The grade of a model's folder as it is now, against the unedited model that its ledger keeps."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from editcore.collapse.verdict import GRADES, judge
from editcore.config.collapse import CollapseSection, replaced
from editcore.errors import DataError, ModelError
from editcore.evaluation.perplexity import EditedPerplexity, measure_unedited
from editcore.models.loading import LoadedModel, load_spec
from editcore.numbers import in_percent, number, times
from editcore.planning.jobs import ModelSpec, PerplexitySpec
from editcore.registry.registry import load_registry
from editcore.runs.prepare import Say
from editcore.updates.saved.edit_record import applied, read_record
from editcore.updates.saved.ledger import Line
from editcore.updates.saved.stored_weights import stored_weights
from editcore.updates.saved.weight_change import as_tensor


@dataclass(frozen=True)
class Regraded:
    """The grade of all edits together, the numbers that decide it, and the worst one recorded.

    `recorded` is None if no edit has a recorded grade; `unknown` are the edits without one.
    """

    grade: str
    perplexity: float
    perplexity_base: float
    top1_kept: float
    recorded: str | None
    unknown: tuple[int, ...]

    @property
    def differs(self) -> bool:
        """Whether the grade is not the worst one recorded; not if none is."""
        return self.recorded not in (None, self.grade)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data for JSON."""
        return {**asdict(self), "differs": self.differs}

    def __str__(self) -> str:
        ratio = times(self.perplexity / self.perplexity_base)
        change = f"perplexity {number(self.perplexity_base)} → {number(self.perplexity)} ({ratio})"
        moved = f"another next token is the likeliest at {in_percent(1 - self.top1_kept)} of tokens"
        now = f"now {self.grade}: {change}, and {moved}"
        if self.recorded is None:
            return f"{now}; no grade is recorded"
        found = f"{now}; recorded: {self.recorded}"
        rest = ", ".join(map(str, self.unknown))
        return f"{found} (the grade of edit {rest} is unknown)" if rest else found


def regrade(folder: Path, lines: Sequence[Line], say: Say) -> Regraded:
    """Measure the model in a folder against itself without its edits, as `check` measures an edit.

    Texts, dtype and rule are those of the newest edit with a recorded verdict, or of the newest
    whose delta names texts. The unedited weights are put into the loaded model and taken out again;
    no file changes. Raises `DataError` if no edit's texts are known, `EditcoreError` if model or
    texts cannot be read.
    """
    known = [line.origin for line in lines if line.origin.model and line.origin.perplexity]
    graded = [origin for origin in known if origin.verdict]
    basis = next(reversed(graded or known), None)
    if basis is None or basis.model is None or basis.perplexity is None:
        raise DataError(
            f"{folder}: the ledger names no texts that an edit was measured with; grade the model "
            "by an edit that `editcore check --save` or `editcore guard` made"
        )
    given = basis.verdict.rule if basis.verdict else None
    rule = replaced(CollapseSection(), given or {})
    spec = ModelSpec.model_validate(basis.model.model_dump() | {"source": str(folder)})
    say(f"load {folder}")
    model = load_spec(spec, load_registry())
    say("measure it without its edits, and with them")
    with unedited(model, folder) as names:
        texts, before = measure_unedited(model, PerplexitySpec(**basis.perplexity.model_dump()))
    first = min((model.parts.block_of(name) or 0 for name in names), default=0)
    now = EditedPerplexity(model, texts, before.predictions).now(first)
    assert now.disturbance is not None
    kept, base = now.disturbance.kept, before.perplexity.mean
    grade = judge(now.mean, base, rule, kept).grade
    assert grade is not None
    recorded = [verdict.grade for line in lines if (verdict := line.origin.verdict)]
    unknown = tuple(line.id for line in lines if line.origin.verdict is None)
    worst = max(recorded, key=GRADES.index, default=None)
    return Regraded(grade, now.mean, base, kept, worst, unknown)


@contextmanager
def unedited(model: LoadedModel, folder: Path) -> Iterator[list[str]]:
    """A block in which a model loaded from a folder has its weights from before all edits.

    Yields the names of the parameters that differ. Raises `ModelError` if one has no parameter.
    """
    originals = _originals(model, folder)
    edited = {name: model.model.get_parameter(name).detach().clone() for name in originals}
    _put(model, originals)
    try:
        yield [*originals]
    finally:
        _put(model, edited)


def _originals(model: LoadedModel, folder: Path) -> dict[str, Tensor]:
    """The weights from before all edits, by parameter: those that the oldest records keep."""
    places, found = stored_weights(folder), dict[str, Tensor]()
    for file in applied(folder):
        for key, content in read_record(file).old.items():
            name = _parameter(model, key, folder)
            found.setdefault(name, as_tensor(key, places[key], content))
    return found


def _parameter(model: LoadedModel, key: str, folder: Path) -> str:
    """The parameter with a name in the files, which may lack or have the prefix of the base."""
    prefix = f"{model.model.base_model_prefix}."
    names = {name for name, _ in model.model.named_parameters(remove_duplicate=False)}
    for name in (key, f"{prefix}{key}", key.removeprefix(prefix)):
        if name in names:
            return name
    raise ModelError(f"{folder}: the model has no parameter for {key}; get the model again")


@torch.no_grad()
def _put(model: LoadedModel, weights: Mapping[str, Tensor]) -> None:
    for name, weight in weights.items():
        model.model.get_parameter(name).copy_(weight)
    model.follow(weights)
