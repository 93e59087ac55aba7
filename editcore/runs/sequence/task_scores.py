"""The lm-eval scores of a sequence's current model."""

from contextlib import nullcontext
from dataclasses import dataclass

from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import SequenceJob
from editcore.records.schemas import GUESSED, SCORE
from editcore.updates.patch import Patch


@dataclass(frozen=True)
class TaskScores:
    """Tasks prepared once, for one model whose weights change."""

    model: LoadedModel
    lm: EditedLM
    suite: Suite

    @classmethod
    def of(cls, model: LoadedModel, job: SequenceJob) -> "TaskScores":
        """The tasks of a job; `ConfigError` for one that cannot be loaded."""
        return cls(model, EditedLM(model), Suite.load(job.tasks, job.task_items, job.seed))

    def now(self, patch: Patch | None = None) -> dict[str, float | None]:
        """The model's score in each task, and the score expected from guessing, by column.

        A score is None if some logits are not finite. With a `patch`, the model is asked under it.
        """
        with patch.applied(self.model.model) if patch else nullcontext():
            scores = self.suite.scores(self.lm)
        columns: dict[str, float | None] = {}
        for found in scores:
            columns |= {SCORE + found.task: found.score, GUESSED + found.task: found.random}
        return columns
