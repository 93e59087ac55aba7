"""What a sequence's model can still do, as it is now: its scores in lm-eval's tasks."""

from contextlib import nullcontext
from dataclasses import dataclass

from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import SequenceJob
from editcore.records.schemas import GUESSED, SCORE
from editcore.updates.patch import Patch


@dataclass(frozen=True)
class TaskScores:
    """Tasks laid out once, for one model and whatever its weights become."""

    model: LoadedModel
    lm: EditedLM
    suite: Suite

    @classmethod
    def of(cls, model: LoadedModel, job: SequenceJob) -> "TaskScores":
        """Those that a job asks for; `ConfigError` for one that cannot be loaded."""
        return cls(model, EditedLM(model), Suite.load(job.tasks, job.task_items, job.seed))

    def now(self, patch: Patch | None = None) -> dict[str, float | None]:
        """By column, the score in each task and what guessing gives there.

        A score is None where the logits are not finite. With a `patch`, the model answers under it.
        """
        with patch.applied(self.model.model) if patch else nullcontext():
            scores = self.suite.scores(self.lm)
        columns: dict[str, float | None] = {}
        for found in scores:
            columns |= {SCORE + found.task: found.score, GUESSED + found.task: found.random}
        return columns
