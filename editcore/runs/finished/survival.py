"""What is left of edits when the edited model is rounded, pruned or fine-tuned.

Compression undoes edits sooner than abilities (Kolbeinsson et al. 2024, "Composable Interventions
for Language Models"), and fine-tuning lets them decay ("Can Fine-Tuning Erase Your Edits?", 2025).
Compressed edited models share passes; each edited model is fine-tuned by itself.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import polars as pl

from editcore.config.stages import ADAPTER, UNTREATED
from editcore.datasets.readers import read_texts
from editcore.errors import in_one_line
from editcore.evaluation import rounding
from editcore.evaluation.metrics import mean_or_none
from editcore.evaluation.perplexity import TokenizedTexts, measure_unedited
from editcore.evaluation.teacher_forcing import (
    Answers,
    CaseQuestions,
    Question,
    TokenizedQuestions,
    tokenize_questions,
)
from editcore.evaluation.treatments.compression import Compression
from editcore.evaluation.treatments.fine_tuning import FineTuning
from editcore.evaluation.treatments.pruning import pruned
from editcore.evaluation.treatments.treated import FineTuned, Outcome, compressed
from editcore.models.batch_size import budget
from editcore.models.loading import LoadedModel, load_spec
from editcore.planning.stages.jobs import SurvivalJob
from editcore.progress import progress_bar
from editcore.records.model_schemas import SURVIVAL
from editcore.records.provenance import of_job
from editcore.records.stored_precision import stored_precision
from editcore.records.tables import Row, write_table
from editcore.registry.registry import Registry, load_registry
from editcore.requests import OK, SLOT
from editcore.runs.cases import chat_of, posed_cases
from editcore.runs.finished import edits as finished_edits
from editcore.summary.survival import treated
from editcore.updates.delta import Delta

# Perplexity only shows what else a treatment does; a few texts are enough for that.
PERPLEXITY_TEXTS = 10
# The treatments that round, without the ending of those that keep the edit as an adapter.
BITS = {f"{bits}-bit": bits for bits in rounding.BITS}


def run(job: SurvivalJob, out: Path) -> None:
    """Measure some edited models untreated and after each treatment; rows to `out`.

    If a model cannot be treated or measured, `status` is the reason, and its numbers are null.
    """
    registry = load_registry()
    chosen = treated(finished_edits.rows(job.edits), job.cases)
    survey = Survey.open(job, load_spec(job.model, registry), registry, chosen)
    treatments = (UNTREATED, *job.treatments)
    rows: list[Row] = []
    total = len(chosen) * len(treatments)
    with progress_bar(total=total, title=f"{job.model.name} survival", unit="model") as bar:
        for group in survey.groups(chosen):
            for treatment in treatments:
                for some in [[edit] for edit in group] if treatment == "fine-tuned" else [group]:
                    rows += survey.rows(treatment, some)
                    bar.update(len(some))
    about = {
        "model": job.model.name,
        "seed": job.seed,
        "dtype": job.model.dtype,
        "precision": job.model.precision,
        "stored_as": stored_precision(job.model.source, job.model.revision),
    }
    made = of_job(job, **chat_of(survey.model))
    write_table(out, [{**row, **about} for row in rows], SURVIVAL, made)


@dataclass(frozen=True)
class Edited:
    """One edit: the columns that name it, the place of its case's questions, and its change."""

    identity: Row
    case: int
    delta: Delta


@dataclass(frozen=True)
class Survey:
    """A model, the texts that its treated versions read, and the questions that they are asked."""

    job: SurvivalJob
    model: LoadedModel
    texts: TokenizedTexts
    places: Mapping[tuple[str, int], int]
    questions: Sequence[CaseQuestions]
    asked: Sequence[TokenizedQuestions]

    @classmethod
    def open(
        cls, job: SurvivalJob, model: LoadedModel, registry: Registry, chosen: pl.DataFrame
    ) -> "Survey":
        """Read the facts of the chosen edits; `DataError` if a file lacks one."""
        few = min(job.perplexity.texts, PERPLEXITY_TEXTS)
        texts, _ = measure_unedited(model, job.perplexity.model_copy(update={"texts": few}))
        found: dict[tuple[str, int], CaseQuestions] = {}
        for spec in {shard.dataset.name: shard.dataset for shard in job.edits}.values():
            cases = chosen.filter(dataset=spec.name)["case_id"].unique().sort().to_list()
            for request in posed_cases(model, spec, cases, registry):
                found[spec.name, request.case_id] = CaseQuestions(request, SLOT)
        places = {key: place for place, key in enumerate(found)}
        asked = [tokenize_questions(model, _asked(each)) for each in found.values()]
        return cls(job, model, texts, places, list(found.values()), asked)

    def groups(self, chosen: pl.DataFrame) -> Iterator[list[Edited]]:
        """The chosen edits, as many at a time as fit a share of the memory budget as matrices."""
        room = budget(self.model.device) // 4
        group: list[Edited] = []
        used = 0
        for row, delta in finished_edits.with_deltas(chosen):
            size = sum(4 * math.prod(update.shape) for update in delta.updates.values())
            if group and used + size > room:
                yield group
                group, used = [], 0
            identity = {name: row[name] for name in ("editor", "dataset", "case_id")}
            group.append(Edited(identity, self.places[row["dataset"], row["case_id"]], delta))
            used += size
        if group:
            yield group

    def rows(self, treatment: str, edits: Sequence[Edited]) -> list[Row]:
        """A row for each edited model after one treatment.

        If treating some together raises an error, each is treated alone, so that only the faulty
        one fails.
        """
        how = self._compression(treatment)
        try:
            outcomes = self._outcomes(treatment, how, edits)
            measured = [
                {"status": OK, **_columns(self.questions[edit.case], outcome)}
                for edit, outcome in zip(edits, outcomes, strict=True)
            ]
        except Exception as error:  # whatever one edit's numbers may cause
            if len(edits) > 1:
                return [row for edit in edits for row in self.rows(treatment, [edit])]
            measured = [{"status": in_one_line(error)}]
        about = {"treatment": treatment, "rounded_as": how.rounded_as if how else None}
        return [
            {**edit.identity, **about, **columns}
            for edit, columns in zip(edits, measured, strict=True)
        ]

    def _outcomes(
        self, treatment: str, how: Compression | None, edits: Sequence[Edited]
    ) -> list[Outcome]:
        if treatment == "fine-tuned":
            return [self._tuned.outcome(edit.case, edit.delta) for edit in edits]
        asked = [self.asked[edit.case] for edit in edits]
        deltas = [edit.delta for edit in edits]
        beside = treatment.endswith(ADAPTER)
        return compressed(self.model, self.texts, how, asked, deltas, beside=beside)

    def _compression(self, treatment: str) -> Compression | None:
        """How weights are compressed; None if they are not."""
        if treatment == "pruned":
            return Compression(partial(pruned, share=self.job.pruned_share), head=False)
        bits = BITS.get(treatment.removesuffix(ADAPTER))
        return rounding.compression(bits, self.model.device) if bits else None

    @cached_property
    def _tuned(self) -> FineTuned:
        spec = self.job.tuning
        assert spec is not None
        texts = read_texts(spec.path)[spec.skipped :]
        how = FineTuning.drawn(self.model, texts, spec.steps, spec.learning_rate, self.job.seed)
        return FineTuned(self.model, self.texts, how, self.asked)


def _asked(questions: CaseQuestions) -> list[Question]:
    """The questions that the columns need."""
    new, true = questions.request.target_new, questions.request.target_true
    asked = questions.rewrite(new) + questions.paraphrases(new)
    return asked + (questions.rewrite(true) if true else [])


def _columns(questions: CaseQuestions, outcome: Outcome) -> Row:
    base, edited = outcome.unedited.mean, outcome.edited
    assert edited.disturbance is not None
    return {
        **_of_model(questions, outcome.after, ""),
        **_of_model(questions, outcome.before, "_unedited"),
        "perplexity": edited.mean,
        "perplexity_unedited": base,
        "perplexity_ratio": edited.mean / base if math.isfinite(base) else None,
        "top1_kept": edited.disturbance.kept,
    }


def _of_model(questions: CaseQuestions, answers: Answers, ending: str) -> Row:
    """What one model knows of the new object."""
    new, true = questions.request.target_new, questions.request.target_true
    (rewrite,) = questions.rewrite(new)
    paraphrases = [answers[each].accuracy for each in questions.paraphrases(new)]
    likelier = None
    if true:
        (other,) = questions.rewrite(true)
        likelier = float(answers[rewrite].log_probability > answers[other].log_probability)
    return {
        f"efficacy{ending}": answers[rewrite].accuracy,
        f"generalization{ending}": mean_or_none(paraphrases),
        f"efficacy_score{ending}": likelier,
    }
