"""What every run with an editor begins with: the loaded model, and its unedited perplexity."""

from dataclasses import dataclass

from editcore.editing.session import Session
from editcore.evaluation.disturbance import Disturbance
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity, measure_unedited
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import EditJob, SequenceJob
from editcore.planning.stages.jobs import MechanismJob
from editcore.registry.registry import Registry


@dataclass(frozen=True)
class Baseline:
    """A session, its unedited model's perplexity, and that of edited ones on the same texts."""

    session: Session
    unedited: Perplexity
    edited: EditedPerplexity

    @classmethod
    def open(cls, job: EditJob | SequenceJob | MechanismJob, registry: Registry) -> "Baseline":
        """Load what a job names and measure the unedited model.

        Raises `EditcoreError` if anything is missing, `DataError` if the model's perplexity is not
        finite.
        """
        return cls.of(Session.open(job, registry), job)

    @classmethod
    def of(cls, session: Session, job: EditJob | SequenceJob | MechanismJob) -> "Baseline":
        """The same for a session that is open already."""
        texts, unedited = measure_unedited(session.context.model, job.perplexity)
        edited = EditedPerplexity(session.context.model, texts, unedited.predictions)
        return cls(session, unedited.perplexity, edited)

    @property
    def model(self) -> LoadedModel:
        """The model."""
        return self.session.context.model


def disturbance_columns(found: Disturbance | None) -> dict[str, float]:
    """The columns of how far the edited model's predictions moved."""
    if found is None:
        return {}
    return {"kl_mean": found.mean, "kl_upper": found.upper, "top1_kept": found.kept}
