"""Measures a model that something else edited, against the model that it was made from."""

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.collapse.verdict import judge
from editcore.collapse.yardstick import scale_of
from editcore.errors import ModelError
from editcore.records.model_schemas import ROUNDING
from editcore.records.tables import read_table
from editcore.registry.registry import Registry, load_registry
from editcore.runs.adhoc.edited.comparison import Comparison, plan
from editcore.runs.adhoc.edited.report import MeasuredModel, TaskChange
from editcore.runs.adhoc.edited.shape import sentence
from editcore.runs.prepare import Say, prefix_file, rounding_table

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from editcore.evaluation.lm_eval_adapter import Suite, TaskScore
    from editcore.evaluation.perplexity import TokenizedTexts, Unedited
    from editcore.evaluation.teacher_forcing import Answers
    from editcore.models.anatomy import Anatomy
    from editcore.models.loading import LoadedModel
    from editcore.planning.jobs import ModelSpec
    from editcore.runs.adhoc.edited.facts import AskedFact
    from editcore.updates.saved.weight_difference import Pairs


def measure(
    edited: str,
    base: str,
    cache: Path,
    say: Say,
    *,
    facts: Path | None = None,
    tasks: Sequence[str] | None = None,
    config: Path | None = None,
) -> MeasuredModel:
    """What was changed in a model, what that did to it, and its grade.

    Texts, thresholds and settings are those of `config`, a study, as `check` takes them for `base`.
    Both models are also asked the `facts` of a data file, and scored in `tasks`; if those are
    empty, in the study's. One of the two models is in memory at a time. Raises `EditcoreError` if
    one cannot be loaded, or if they are not one model before and after an edit.
    """
    registry = load_registry()
    job = plan(edited, base, registry, facts, tasks, config)
    for note in job.notes:
        say(note)
    say("load torch and transformers")
    return _Measuring(job, registry, cache, say).run()


@dataclass(frozen=True)
class _Base:
    """What is kept of the base model: its names, its answers, and what the edited one is asked."""

    pairs: "Pairs"
    anatomy: "Anatomy"
    depth: int
    tokenizer: "PreTrainedTokenizerBase"
    texts: "TokenizedTexts"
    unedited: "Unedited"
    facts: "Sequence[AskedFact]"
    answers: "Sequence[Answers]"
    scores: "Sequence[TaskScore]"


@dataclass(frozen=True)
class _Measuring:
    """One comparison at work."""

    job: Comparison
    registry: Registry
    cache: Path
    say: Say

    def run(self) -> MeasuredModel:
        """Measure the base, compare the weights, then measure the edited model if it is finite."""
        from editcore.records.stored_precision import stored_precision
        from editcore.runs.adhoc.edited.facts import measured
        from editcore.updates.saved.weight_difference import differences

        job = self.job
        rounded = rounding_table(job.base, job.perplexity, self.cache, self.say)
        suite = self._suite()
        base = self._base(suite)
        gc.collect()  # the base model, whose modules refer to each other
        self.say(f"compare {len(base.pairs)} weights")
        found = tuple(differences(base.pairs))
        row: dict[str, Any] = {"perplexity_base": base.unedited.perplexity.mean}
        answers: Sequence[Answers] = ()
        scores: Sequence[TaskScore] = ()
        if any(each.nonfinite for each in found):
            row |= vars(judge(math.nan, row["perplexity_base"], job.rule))
        else:
            measures, answers, scores = self._edited(base, suite)
            row |= measures
            row |= vars(
                judge(row["perplexity"], row["perplexity_base"], job.rule, row["top1_kept"])
            )
        return MeasuredModel(
            job,
            found,
            sentence(found, base.anatomy, base.depth),
            row,
            tuple(measured(base.facts, base.answers, answers)),
            TaskChange.of(base.scores, scores),
            tuple(stored_precision(each.source, each.revision) for each in (job.base, job.edited)),
            scale_of(read_table(rounded, ROUNDING)),
        )

    def _suite(self) -> "Suite | None":
        if not self.job.tasks:
            return None
        from editcore.evaluation.lm_eval_adapter import Suite

        self.say(f"prepare {len(self.job.tasks)} tasks")
        return Suite.load(self.job.tasks, self.job.task_items, self.job.prefixes.seed)

    def _base(self, suite: "Suite | None") -> _Base:
        from editcore.evaluation.perplexity import measure_unedited
        from editcore.keyvalue import prefixes
        from editcore.models.loading import load_spec, load_tokenizer
        from editcore.runs.adhoc.edited.facts import AskedFact
        from editcore.updates.saved.weight_difference import paired_weights

        job = self.job
        asked: Sequence[AskedFact] = ()
        place = prefix_file(job.prefixes, job.files, self.cache, self.say) if job.requests else None
        folders = [_folder(each) for each in (job.base, job.edited)]
        self.say(f"load {job.base.name} and measure it")
        model = load_spec(job.base, self.registry)
        pairs = paired_weights(model.model, *folders)
        _refuse_other_tokens(job, model.tokenizer, load_tokenizer(str(folders[1])))
        texts, unedited = measure_unedited(model, job.perplexity)
        if place is not None:
            templates = prefixes.load(place)
            posed = model.posed(job.requests)
            asked = [AskedFact.of(model, each, templates) for each in posed]
        read = _read(model, asked, suite)
        depth = model.parts.depth
        kept = pairs, model.anatomy, depth, model.tokenizer, texts, unedited, asked
        return _Base(*kept, *read)

    def _edited(
        self, base: _Base, suite: "Suite | None"
    ) -> "tuple[dict[str, Any], Sequence[Answers], Sequence[TaskScore]]":
        """The columns of the edited model's perplexity, its answers, and its scores."""
        from editcore.evaluation.perplexity import EditedPerplexity
        from editcore.models.loading import load_spec
        from editcore.runs.baseline import disturbance_columns

        self.say(f"load {self.job.edited.name} and measure it")
        loaded = load_spec(self.job.edited, self.registry)
        model = replace(loaded, tokenizer=base.tokenizer)
        found = EditedPerplexity(model, base.texts, base.unedited.predictions).now(0)
        columns = {
            "perplexity": found.mean,
            "perplexity_ratio": found.mean / base.unedited.perplexity.mean,
            **disturbance_columns(found.disturbance),
        }
        return columns, *_read(model, base.facts, suite)


def _read(
    model: "LoadedModel", asked: "Sequence[AskedFact]", suite: "Suite | None"
) -> "tuple[list[Answers], list[TaskScore]]":
    """A model's answers to the facts that can be asked, and its scores."""
    from editcore.evaluation.teacher_forcing import ask_all

    answers = ask_all(model, [fact.tokens for fact in asked if fact.tokens is not None])
    if suite is None:
        return answers, []
    from editcore.evaluation.lm_eval_adapter import EditedLM

    return answers, suite.scores(EditedLM(model))


def _folder(spec: "ModelSpec") -> Path:
    """The folder with a model's files, which the hub's cache keeps for a hub id."""
    from editcore.models.gguf import loadable
    from editcore.models.hub import downloaded

    place = Path(loadable(spec.source))
    return place if place.is_dir() else downloaded(spec.source, spec.revision)


def _refuse_other_tokens(
    job: Comparison, base: "PreTrainedTokenizerBase", edited: "PreTrainedTokenizerBase"
) -> None:
    """Raise `ModelError` if a token of text has another number; added ones such as padding may."""
    words = [
        tokenizer.get_vocab().items() - tokenizer.get_added_vocab().items()
        for tokenizer in (base, edited)
    ]
    if other := words[0] ^ words[1]:
        token, number = min(other)
        raise ModelError(
            f"the vocabularies of {job.edited.source} and {job.base.source} differ in "
            f"{len(other)} tokens, such as {token!r} with the number {number}; give two models "
            "of one vocabulary"
        )
