"""One edit, made and measured: what it does to its fact, and what it does to the model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.config.study import CollapseSpec
from editcore.errors import ConfigError, RequestError
from editcore.requests import OK
from editcore.runs.adhoc.setup import Choice, Say, made_ready

if TYPE_CHECKING:
    from editcore.collapse.calibration import Forecast
    from editcore.planning.jobs import EditJob
    from editcore.requests import EditRequest
    from editcore.runs.edit import Shard
    from editcore.updates.change import Change
    from editcore.updates.delta import Delta

# Said before and after the edit, behind the edited prompt: openings that no edit is about.
OPENINGS = ("The people of", "She said that", "In the morning")
TOKENS = 16


@dataclass(frozen=True)
class Continuation:
    """What the model said behind a prompt before and after the edit."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class KeyFacts:
    """The subject's keys at the edited layer.

    `cosine` is between the bare key and the mean key, `denominators` are what the update would be
    divided by under each key strategy that is installed.
    """

    layer: int
    strategy: str
    cosine: float
    denominators: Mapping[str, float]


@dataclass(frozen=True)
class CheckReport:
    """The verdict on one edit, and everything that it rests on.

    `row` has the columns of `edits/…/shard-*.parquet` (results/README.md); printed, the report says
    the verdict and its reason in words.
    """

    request: "EditRequest"
    row: Mapping[str, Any]
    continuations: tuple[Continuation, ...]
    keys: KeyFacts | None
    warning: "Forecast | None"
    collapse: CollapseSpec
    job: "EditJob"
    delta: "Delta | None"

    @property
    def collapsed(self) -> bool:
        """Whether the edit ruins the model, by the rule of the study."""
        return bool(self.row["collapsed"])

    @property
    def ratio(self) -> float:
        """Perplexity of the edited model, as a multiple of the unedited one's."""
        return float(self.row["perplexity_ratio"])

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data that JSON can hold; what overflowed is the text `inf`."""
        from editcore.runs.adhoc.check_report import reason, verdict

        plain = {
            "verdict": "collapsed" if self.collapsed else "safe",
            "sentence": verdict(self),
            "reason": reason(self),
            "collapse": self.collapse.model_dump(),
            "editor_options": self.job.editor.options,
            "keys": vars(self.keys) if self.keys else None,
            "forecast": vars(self.warning) if self.warning else None,
            "continuations": [vars(each) for each in self.continuations],
            **self.row,
        }
        return {name: finite(value) for name, value in plain.items()}

    def __str__(self) -> str:
        from editcore.runs.adhoc.check_report import page

        return page(self)

    def save(self, folder: Path | str) -> Path:
        """Write `delta.safetensors` and `check.json` into a folder; returns the delta's path.

        `ConfigError` for an editor that changes no weights.
        """
        import json

        from editcore.atomic import write_text
        from editcore.updates.delta import save_deltas

        if self.delta is None:
            raise ConfigError(
                f"{self.job.editor.label} changes no weights, so there is nothing to save"
            )
        folder = Path(folder)
        path = folder / "delta.safetensors"
        about = {"job": self.job.model_dump_json()}
        save_deltas({self.request.case_id: self.delta}, path, about)
        write_text(folder / "check.json", json.dumps(self.as_dict(), indent=2) + "\n")
        return path


def finite(value: Any) -> Any:
    """The value with every infinite number in it as text, since JSON has none.

    >>> finite({"a": [float("inf"), 1.0]})
    {'a': ['inf', 1.0]}
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value


def check_request(choice: Choice, request: "EditRequest", cache: Path, say: Say) -> CheckReport:
    """Make one edit and measure it; the model's weights are as before when this returns.

    Raises `EditcoreError` for what a study would be refused for, `RequestError` where the edit
    cannot be made.
    """
    from editcore.runs.adhoc.check_report import forecast

    if request.flaw:
        raise RequestError(request.flaw)
    shard = made_ready(choice, [request], cache, say)
    say(f"edit with {shard.rows.job.editor.label}")
    (made,) = shard.results()
    warning = _warning(shard, made.result.delta)
    if warning is not None:
        say(forecast(warning))
    say("measure the edited model")
    (row,) = shard.rows.of([made])
    if row["status"] != OK:
        raise RequestError(f"the edit could not be made: {row['status']}")
    prompts = (request.text, *OPENINGS)
    said = _said(shard, made.result.change, prompts)
    keys = key_facts(shard, request)
    job = shard.rows.job
    return CheckReport(request, row, said, keys, warning, job.collapse, job, made.result.delta)


def _warning(shard: "Shard", delta: "Delta | None") -> "Forecast | None":
    """What is to be expected, before any weight changes; None for edits that change none."""
    if delta is None:
        return None
    from editcore.collapse.verdict import warn

    context = shard.session.context
    return warn(context.model, delta, context.moments)


def _said(
    shard: "Shard", change: "Change | None", prompts: Sequence[str]
) -> tuple[Continuation, ...]:
    from editcore.evaluation.greedy import continuations

    model = shard.session.context.model
    before = continuations(model, prompts, TOKENS)
    assert change is not None
    with change.applied(model.model):
        after = continuations(model, prompts, TOKENS)
    return tuple(map(Continuation, prompts, before, after))


def key_facts(shard: "Shard", request: "EditRequest") -> KeyFacts | None:
    """The subject's keys as an editor with a key strategy sees them; None for other editors."""
    from torch.nn.functional import cosine_similarity

    from editcore.keyvalue.keys import collect_keys, tokenize_templates
    from editcore.registry.registry import load_registry, resolve

    context, options = shard.session.context, shard.session.editor.config
    strategy, layers = getattr(options, "key_strategy", None), options.edited_layers()
    if context.prefixes is None or strategy is None or len(layers) != 1:
        return None
    prompts = tokenize_templates(context.model, request, context.prefixes.templates)
    (keys,) = collect_keys(context.model, layers[0], [prompts])
    moment = context.moments.get(layers[0])
    denominators = {}
    for entry in load_registry().key_strategies.values():
        pair = resolve(entry.record.factory)(keys)
        direction = pair.direction.double().cpu()
        direction = direction if moment is None else moment.solve(direction)
        denominators[entry.record.name] = float(
            (direction / direction.norm() @ pair.solve.double().cpu()).abs()
        )
    cosine = float(cosine_similarity(keys.bare, keys.mean, dim=0))
    return KeyFacts(layers[0], str(strategy), cosine, denominators)
