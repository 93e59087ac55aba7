"""One edit, made and measured: its effect on the fact, and on the model."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from editcore.collapse import forecast as forecasts
from editcore.collapse.verdict import judge
from editcore.config.options import key_strategy_of
from editcore.errors import ConfigError, EditcoreError, RequestError
from editcore.numbers import duration
from editcore.requests import OK
from editcore.runs.adhoc import calibrate
from editcore.runs.adhoc.check_report import (
    CheckReport,
    Continuation,
    KeyFacts,
    forecast,
    forecast_from_prompt,
)
from editcore.runs.adhoc.rounded_edit import rounded_edits
from editcore.runs.adhoc.setup import Ready, set_up
from editcore.runs.prepare import Choice, Say

if TYPE_CHECKING:
    from editcore.collapse.forecast import Forecast, Forecaster
    from editcore.editing.editor import EditResult
    from editcore.registry.registry import Registry
    from editcore.requests import EditRequest
    from editcore.runs.edit import Shard
    from editcore.runs.edit_rows import MadeEdit
    from editcore.updates.change import Change

# Continued before and after the edit, like the edited prompt, by at least this many tokens:
# openings unrelated to any edit.
OPENINGS = ("The people of", "She said that", "In the morning")
TOKENS = 16


@dataclass(frozen=True)
class Foreseen:
    """What predicts the harm of an edit, and what it predicts from the keys alone."""

    known: "Forecaster"
    keys: KeyFacts | None
    from_prompt: "Forecast | None"

    @classmethod
    def of(cls, ready: Ready, known: "Forecaster", say: Say) -> "Foreseen":
        """What is known of the first request before it is edited; `say` is called with it."""
        keys = key_facts(ready.shard, ready.shard.requests[0], ready.registry)
        source = ready.shard.rows.job.model.source
        found = known.from_prompt(keys.exposure, source) if keys else None
        if found is not None:
            say(forecast_from_prompt(found))
        return cls(known, keys, found)


def check_request(
    choice: Choice,
    request: "EditRequest",
    cache: Path,
    say: Say,
    *,
    calibrated: bool = True,
    rounded: bool = False,
) -> CheckReport:
    """Make one edit and measure it; the model's weights are as before when this returns.

    With `calibrated`, the warning is first fitted on a model that is new to it, if that is quick.
    With `rounded`, the edit is also measured in models of 8 and 4 bits. Raises `EditcoreError` for
    what a study would be refused for, `RequestError` if the edit cannot be made.
    """
    if request.flaw:
        raise RequestError(request.flaw)
    ready = set_up(choice, [request], cache, say, TOKENS)
    shard, rule = ready.shard, ready.rule
    if rounded and not shard.session.info.capabilities.changes_weights:
        raise ConfigError(
            f"{choice.editor} changes no weights, so there is no edit to round; leave --rounded out"
        )
    foreseen = Foreseen.of(ready, calibrate.own(shard, rule, cache) or forecasts.load(), say)
    say(f"edit with {shard.rows.job.editor.label}")
    (made,) = shard.results()
    if calibrated and not foreseen.known.knows(shard.rows.job.model.source):
        known = _calibrated(choice, ready, made, cache, say) or foreseen.known
        foreseen = replace(foreseen, known=known)
    report = report_on(ready, request, made, foreseen, say)
    if not rounded or report.delta is None:
        return report
    say("measure the edit in models of 8 and 4 bits")
    return replace(report, rounded=tuple(rounded_edits(shard, report.delta, rule)))


def report_on(
    ready: Ready, request: "EditRequest", made: "MadeEdit", foreseen: Foreseen, say: Say
) -> CheckReport:
    """Measure an edit of a model that is unedited now; `RequestError` if it cannot be measured."""
    shard, rule = ready.shard, ready.rule
    warning = _warning(shard, made.result.change, foreseen.known)
    if warning is not None:
        say(forecast(warning))
    say("measure the edited model")
    (row,) = shard.rows.of([made])
    if row["status"] != OK:
        raise RequestError(f"the edit could not be made: {row['status']}")
    own = Continuation(request.text, row["continuation_base"], row["continuation"])
    texts = (own, *_openings(shard, made.result.change))
    row |= vars(judge(row["perplexity"], row["perplexity_base"], rule, row["top1_kept"]))
    job = shard.rows.job
    altered = _altered(shard, made.result, texts)
    delta, notes = made.result.delta, tuple(ready.notes)
    made_with = foreseen.keys, warning, rule, job, ready.measured_with
    rest = delta, altered, notes, ready.scale, foreseen.from_prompt
    return CheckReport(request, row, texts, *made_with, *rest)


def _calibrated(
    choice: Choice, ready: Ready, made: "MadeEdit", cache: Path, say: Say
) -> "Forecaster | None":
    """The warning fitted on a new model; None if that takes long, by the time of the first edit."""
    delta = made.result.delta
    if delta is None or not delta.alters(ready.shard.session.context.model.model):
        return None
    edits = 2 * calibrate.COUNT
    seconds = calibrate.SLOWDOWN * edits * made.seconds
    about = duration(math.ceil(seconds))
    if seconds > calibrate.QUICK:
        say(f"the warning is new to this model; `editcore calibrate` fits it (about {about})")
        return None
    say(
        f"calibrate the warning on this new model, by {edits} edits (about {about}; the "
        "result is kept; --no-calibrate leaves this out)"
    )
    try:
        requests = calibrate.facts(choice, calibrate.COUNT, say, ready.registry)
        return calibrate.fit(ready.shard, requests, ready.rule, cache).forecaster
    except EditcoreError as error:
        say(f"the warning is not calibrated on this model: {error}")
        return None


def _warning(shard: "Shard", change: "Change | None", known: "Forecaster") -> "Forecast | None":
    """The prediction before any weight changes; None for a failed edit."""
    if change is None:
        return None
    assert shard.rows.sample is not None
    (effect,) = shard.rows.sample.effects([change])
    return known.forecast(effect.changed, effect.ratio, shard.rows.job.model.source)


def _altered(shard: "Shard", result: "EditResult", texts: Sequence[Continuation]) -> bool:
    """Whether the edit alters any weight or, if it is a patch, any of the generated texts."""
    if result.delta is not None:
        return result.delta.alters(shard.session.context.model.model)
    return any(each.before != each.after for each in texts)


def _openings(shard: "Shard", change: "Change | None") -> Iterator[Continuation]:
    """The openings' continuations, as long as the edited prompt's."""
    from editcore.evaluation.generation import edited_answers, unedited_answers

    assert change is not None
    model, tokens = shard.session.context.model, shard.rows.job.continuation_tokens
    before = unedited_answers(model, OPENINGS, tokens)
    (after,) = edited_answers(model, [OPENINGS], [change], tokens)
    texts = ([answer.text for answer in each] for each in (before, after))
    return map(Continuation, OPENINGS, *texts)


def key_facts(shard: "Shard", request: "EditRequest", registry: "Registry") -> KeyFacts | None:
    """The subject's keys, for an editor with a key strategy and one layer; None for others."""
    from torch.nn.functional import cosine_similarity

    from editcore.keyvalue.keys import collect_keys, tokenize_templates
    from editcore.keyvalue.rank_one import denominator_of, direction_of
    from editcore.registry.registry import resolve_factory

    context, options = shard.session.context, shard.session.editor.config
    strategy, layers = key_strategy_of(options), options.edited_layers()
    if context.prefixes is None or strategy is None or len(layers) != 1:
        return None
    prompts = tokenize_templates(context.model, request, context.prefixes.templates)
    for prompt in prompts:
        context.model.check_length(request.text, len(prompt.ids))
    (keys,) = collect_keys(context.model, layers[0], [prompts])
    moment = context.moments.get(layers[0])
    pairs = {
        entry.record.name: resolve_factory(entry.record.factory)(keys)
        for entry in registry.key_strategies.values()
    }
    denominators = {name: denominator_of(pair, moment) for name, pair in pairs.items()}
    cosine = float(cosine_similarity(keys.bare, keys.mean, dim=0))
    exposure = shard.rows.exposure.along(
        context.model.parts.down_weight(layers[0]),
        direction_of(pairs[strategy], moment),
        denominators[strategy],
    )
    return KeyFacts(layers[0], strategy, cosine, denominators, exposure)
