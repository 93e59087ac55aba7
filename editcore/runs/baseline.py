"""What every run begins with: an editor on a loaded model, and the unedited model measured."""

from dataclasses import dataclass

from editcore.editing.session import Session
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity, measure_unedited
from editcore.models.loading import LoadedModel
from editcore.planning.jobs import EditJob, MechanismJob, SequenceJob
from editcore.registry.registry import Registry


@dataclass(frozen=True)
class Baseline:
    """A session, the perplexity of its unedited model, and the same texts for edited ones."""

    session: Session
    unedited: Perplexity
    edited: EditedPerplexity

    @classmethod
    def open(cls, job: EditJob | SequenceJob | MechanismJob, registry: Registry) -> "Baseline":
        """Load what a job names and measure the model; any of it missing is an `EditcoreError`.

        `DataError` too where the unedited model's perplexity is not finite.
        """
        session = Session.open(job, registry)
        texts, unedited = measure_unedited(session.context.model, job.perplexity)
        return cls(session, unedited, EditedPerplexity(session.context.model, texts))

    @property
    def model(self) -> LoadedModel:
        """The model."""
        return self.session.context.model
