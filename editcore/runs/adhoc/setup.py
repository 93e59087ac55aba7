"""Sets up the requests of one call as a shard, with model, artefacts and editor loaded."""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from editcore.atomic import write_text
from editcore.collapse.yardstick import Scale, scale_of
from editcore.config.collapse import CollapseSection
from editcore.config.study import DatasetSection, StudyConfig
from editcore.datasets.invented_world import notes
from editcore.datasets.writers import flat_record
from editcore.editing.editor import lacking_subject
from editcore.errors import RequestError
from editcore.records.model_schemas import ROUNDING
from editcore.records.tables import read_table
from editcore.registry.registry import Registry, load_registry
from editcore.runs.adhoc.layer_choice import with_layers
from editcore.runs.adhoc.measured_with import MeasuredWith, measured_with
from editcore.runs.prepare import Choice, Say, prepare, rounding_table, study_for

if TYPE_CHECKING:
    from editcore.planning.jobs import EditJob
    from editcore.requests import EditRequest
    from editcore.runs.edit import Shard


@dataclass(frozen=True)
class Ready:
    """A shard whose cases are the requests of one call, and how its models are measured and graded.

    `scale` is what rounding the model's weights does to its predictions. `notes` are what the
    reader of the results should know first.
    """

    registry: Registry
    shard: "Shard"
    rule: CollapseSection
    measured_with: MeasuredWith
    scale: Scale
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Planned:
    """The job of the requests of one call, and the study that it is of; its model is not loaded."""

    registry: Registry
    config: StudyConfig
    job: "EditJob"
    notes: Sequence[str]


def set_up(
    choice: Choice, requests: Sequence["EditRequest"], cache: Path, say: Say, tokens: int = 0
) -> Ready:
    """The requests with model, artefacts and editor loaded; what `cache` lacks is made and kept.

    Edited models write at least `tokens` tokens. `say` is called with each step. Raises
    `EditcoreError` for anything that a study is refused for.
    """
    with planned(choice, requests, cache, say, tokens) as plan:
        job, config, registry = plan.job, plan.config, plan.registry
        rounded = rounding_table(job.model, job.perplexity, cache, say)
        scale = scale_of(read_table(rounded, ROUNDING))
        from editcore.runs.edit import Shard

        say(f"load {job.model.name} and measure its unedited perplexity")
        shard = Shard.open(job, registry)
        # Written as records of a new file, requests lose why they could not be read.
        lost = {request.case_id: request.unreadable for request in requests}
        read = [
            replace(each, unreadable=lost.get(each.case_id) or each.unreadable)
            for each in shard.requests
        ]
        shard = replace(shard, requests=read)
        measured = measured_with(shard.rows, config)
        return Ready(registry, shard, config.collapse, measured, scale, plan.notes)


@contextmanager
def planned(
    choice: Choice, requests: Sequence["EditRequest"], cache: Path, say: Say, tokens: int = 0
) -> Iterator[Planned]:
    """A block in which the job of the requests can be run, as in `set_up`, with its artefacts."""
    _refuse_several_facts(requests)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "requests.json"
        write_text(data, json.dumps([flat_record(request) for request in requests]))
        registry = load_registry()
        config = study_for(choice, DatasetSection(path=str(data), format="flat"))
        _refuse_without_subjects(config, registry, requests)
        told = notes(config)
        for note in told:
            say(note)
        config = with_layers(config, registry, say)
        most = max(tokens, config.continuation_tokens)
        config = config.model_copy(update={"continuation_tokens": most})
        yield Planned(
            registry, config, prepare(config, "these options", cache, say, registry), told
        )


def _refuse_several_facts(requests: Sequence["EditRequest"]) -> None:
    """Raise `RequestError` if a case has several facts."""
    if case := next((each for each in requests if each.further), None):
        raise RequestError(
            f"case {case.case_id} has {len(case.facts)} facts, which only a study edits together; "
            "run a study with this data set, or give each fact a case of its own"
        )


def _refuse_without_subjects(
    config: StudyConfig, registry: Registry, requests: Sequence["EditRequest"]
) -> None:
    """Raise `RequestError` if the editor needs a subject and no request names one."""
    ((label, editor),) = config.editors.items()
    uses = editor.uses or label
    if uses in registry.editors:  # otherwise, planning names the editors that there are
        reasons = [lacking_subject(registry.editors[uses].record, each) for each in requests]
        if reasons and all(reasons):
            raise RequestError(reasons[0])
