"""An editor on a model: the artefacts that its edits read, and the jobs that make them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from editcore.config.options import Anchor
from editcore.config.value_options import ValueOptions
from editcore.planning import paths
from editcore.planning.artefacts.anchors import AnchorJob
from editcore.planning.artefacts.spectra import SpectrumJob
from editcore.planning.cases import Cases
from editcore.planning.jobs import EditorSpec, ModelSpec, MomentJob, TrainJob, ValueJob
from editcore.planning.stages.jobs import CaseSet


@dataclass(frozen=True)
class EditedModel:
    """An editor with its options for one model, and the jobs for the artefacts that it reads."""

    model: ModelSpec
    editor: EditorSpec
    moments: MomentJob | None
    spectra: SpectrumJob | None
    values: tuple[ValueOptions, ...]
    training: TrainJob | None
    trained: str | None
    anchors: Mapping[Anchor, AnchorJob]

    def artefacts(self, seed: int) -> dict[str, Any]:
        """The fields of every job that edits: its editor and the files that its edits read."""
        return {
            "model": self.model,
            "editor": self.editor,
            "seed": seed,
            "prefixes": str(paths.prefixes(self.model.name)),
            "moments": self.moments.files if self.moments else {},
            "spectra": self.spectra.files if self.spectra else {},
            "trained": self.trained,
            "anchors": tuple(job.file(need) for need, job in self.anchors.items()),
        }

    def value_jobs(self, cases: Cases) -> list[ValueJob]:
        """The searches for v* that the editor needs on one shard; editors may share them.

        A case of several facts searches when it is edited: v* depends on the edits before.
        """
        if not cases.of_one_fact:
            return []
        return [
            ValueJob(
                model=self.model,
                dataset=cases.dataset,
                shard=cases.shard,
                case_ids=cases.of_one_fact,
                prefixes=str(paths.prefixes(self.model.name)),
                options=options,
            )
            for options in self.values
        ]

    def case_set(self, shard: Cases, limit: int) -> CaseSet:
        """At most `limit` cases of a shard with their v*, of an editor with one search."""
        (values,) = self.value_jobs(shard)
        return CaseSet(
            dataset=shard.dataset,
            case_ids=shard.evenly(limit),
            values=str(paths.values(*values.key)),
        )
