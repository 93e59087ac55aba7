"""A model in memory with an editor and its artefacts, made once for all edits of a sequence."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from editcore.atomic import write_text
from editcore.collapse import forecast
from editcore.collapse.yardstick import scale_of
from editcore.config.messages import validated
from editcore.config.options import Trained, needs
from editcore.config.published import PublishedFile
from editcore.config.study import DatasetSection, StudyConfig
from editcore.datasets.invented_world import moment_file, notes, perplexity_file
from editcore.datasets.writers import flat_record
from editcore.editing.session import Session
from editcore.errors import ModelError, PluginError, RequestError
from editcore.evaluation.metrics import bind
from editcore.planning.jobs import EditJob
from editcore.records.model_schemas import ROUNDING
from editcore.records.schemas import OWN_COLUMNS
from editcore.records.tables import read_table
from editcore.registry.catalogue import Source
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import Registry, load_registry
from editcore.requests import EditRequest
from editcore.runs.adhoc.check import TOKENS, Foreseen, report_on
from editcore.runs.adhoc.check_report import CheckReport
from editcore.runs.adhoc.in_memory.model import GivenModel
from editcore.runs.adhoc.layer_choice import with_layers
from editcore.runs.adhoc.measured_with import measured_with
from editcore.runs.adhoc.setup import Ready
from editcore.runs.baseline import Baseline
from editcore.runs.edit import Shard
from editcore.runs.edit_rows import MadeEdit, Rows
from editcore.runs.prepare import Choice, Say, prepare, rounding_table, study_for

HERE = "this program"
SectionT = TypeVar("SectionT", bound=PublishedFile)


@dataclass(frozen=True)
class Prepared:
    """A session on a model in memory; `key` identifies its weights while it is unedited."""

    given: GivenModel
    key: str
    config: StudyConfig
    registry: Registry
    job: EditJob
    session: Session
    cache: Path
    say: Say
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        given: GivenModel,
        editor: str | EditorInfo,
        choice: Choice,
        requests: Sequence[EditRequest],
        cache: Path,
        say: Say,
    ) -> "Prepared":
        """Make what the editor needs with the model, or find it in `cache` by the model's key.

        Raises `EditcoreError` for anything that a study is refused for.
        """
        registry = load_registry()
        if isinstance(editor, EditorInfo):
            _register(editor, registry)
        key = given.key()
        with tempfile.TemporaryDirectory() as folder, given.in_use():
            data = Path(folder) / "requests.json"
            write_text(data, json.dumps([flat_record(request) for request in requests]))
            config = study_for(choice, DatasetSection(path=str(data), format="flat"))
            told = tuple(notes(config))
            for note in told:
                say(note)
            config = with_layers(_in_memory(config, given, key), registry, say, given.depth)
            if isinstance(editor, EditorInfo):
                _refuse_training(editor, config)
            job = prepare(config, "these options", cache, say, registry, given.load)
            session = Session.open(job, registry, given.load)
        return cls(given, key, config, registry, job, session, cache, say, told)

    @property
    def label(self) -> str:
        """The editor and the model."""
        return f"{self.job.editor.label} on {self.job.model.name}"

    def require_unedited(self) -> None:
        """Raise `ModelError` unless the model has the weights that it was prepared with."""
        if self.given.key() != self.key:
            raise ModelError(
                f"the weights of model {self.job.model.name!r} are not those that were edited; "
                "leave the block of `editcore.edited` first, or call `editcore.edit` again"
            )

    def require_sequential(self) -> None:
        """Raise `RequestError` if the editor and its transforms cannot continue from an edit."""
        if not self.session.info.capabilities.sequential:
            raise RequestError(
                f"{self.job.editor.label} edits one fact of an unedited model; use an editor that "
                "edits several"
            )
        if any(transform.accumulated for transform in self.session.transforms):
            raise RequestError(
                "a transform of all edits of a sequence together needs a study; leave it out, or "
                "run a study with `sequences`"
            )

    def report(self, request: EditRequest, made: MadeEdit) -> CheckReport:
        """The verdict on an edit, whose fact is `request`; the model is unedited now."""
        with self.given.in_use():
            ready = self._ready
            shard = replace(ready.shard, requests=self.session.context.model.posed([request]))
            posed = replace(made, request=shard.requests[0])
            ready = replace(ready, shard=shard)
            foreseen = Foreseen.of(ready, forecast.load(), self.say)
            return report_on(ready, request, posed, foreseen, self.say)

    @cached_property
    def _ready(self) -> Ready:
        """What edits are measured with: the unedited model's perplexity, and a scale."""
        table = rounding_table(
            self.job.model, self.job.perplexity, self.cache, self.say, self.given.load
        )
        self.say(f"measure the unedited perplexity of {self.job.model.name}")
        baseline = Baseline.of(self.session, self.job)
        metrics = bind(self.job.metrics, self.registry, OWN_COLUMNS)
        rows = Rows.open(self.job, baseline, metrics)
        return Ready(
            self.registry,
            Shard(self.session, (), rows),
            self.config.collapse,
            measured_with(rows, self.config),
            scale_of(read_table(table, ROUNDING)),
            self.notes,
        )


def _in_memory(config: StudyConfig, given: GivenModel, key: str) -> StudyConfig:
    """The study with the model in memory, on the texts that it has for the model's own source."""
    ((label, section),) = config.models.items()
    source = section.source or label
    perplexity = perplexity_file(config.perplexity.named, source)
    moments = None if config.moments.source else moment_file(config.moments.named, source)
    return config.model_copy(
        update={
            "models": {label: section.model_copy(update=given.settings(key))},
            "perplexity": _of_file(config.perplexity, perplexity),
            "moments": _of_file(config.moments, moments),
            "continuation_tokens": max(TOKENS, config.continuation_tokens),
        }
    )


def _of_file(section: SectionT, path: str | None) -> SectionT:
    """The section with a file, unless it names one."""
    return section if section.named or path is None else section.model_copy(update={"path": path})


def _register(editor: EditorInfo, registry: Registry) -> None:
    """Add an editor that no distribution provides."""
    if editor.name in registry.editors:
        raise PluginError(
            f"an editor {editor.name!r} is installed already; give the one of {HERE} another name"
        )
    registry.editors.check(editor)
    registry.editors.add(editor, Source(HERE, "", ""))


def _refuse_training(editor: EditorInfo, config: StudyConfig) -> None:
    """Refuse an editor without a package that has to be trained.

    What was trained is kept under a hash of the package's code.
    """
    ((label, section),) = config.editors.items()
    options = validated(editor.config, section.options, f"these options: {label}")
    if any(need.file is None for need in needs(options, Trained)):
        raise PluginError(
            f"the editor {editor.name!r} has to be trained, which only one in a package can be; "
            "make one with `editcore new-plugin`, or give the file of an earlier training"
        )
