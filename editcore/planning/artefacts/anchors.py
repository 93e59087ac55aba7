"""Plans the norm anchors that an editor's wrappers require, and chooses their facts."""

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Annotated

from pydantic import Field

from editcore.config.options import Anchor, Requiring, needs
from editcore.config.value_options import ValueOptions
from editcore.datasets.bundled import data_file
from editcore.datasets.data_file import DataFile
from editcore.errors import ConfigError
from editcore.planning import paths, preflight
from editcore.planning.jobs import AnchorFile, DatasetCases, DatasetSpec, Job, ModelSpec
from editcore.planning.paths import ArtefactKey
from editcore.registry.registry import Registry
from editcore.requests import EditRequest

# A mean over fewer norms would say little about the model.
LEAST = 10


class AnchorJob(Job):
    """Search for v* of some facts in one model, and keep their norms."""

    model: ModelSpec
    prefixes: str
    sets: Annotated[tuple[DatasetCases, ...], Field(min_length=1)]
    options: ValueOptions

    @property
    def key(self) -> ArtefactKey:
        """The model, and a short hash of everything that the norms depend on."""
        model = {"source", "revision", "dtype", "chat"}
        content = {"sets": True, "options": True}
        text = self.model_dump_json(include={"model": model, **content})
        return ArtefactKey(self.model.name, hashlib.sha256(text.encode()).hexdigest()[:8])

    def file(self, need: Anchor) -> AnchorFile:
        """Where the norms will be, for editors that need them."""
        asked = {name: getattr(need, name) for name in ("options", "cases", "facts")}
        return AnchorFile(**asked, key=self.key.digest, path=str(paths.anchor(*self.key)))


Fact = tuple[DatasetSpec, EditRequest]


class AnchorPlanner:
    """Chooses facts for the anchors of a study: of its own data sets, or of a file.

    `reported` are the cases that the study edits, of each of its data sets.
    """

    def __init__(
        self, reported: Mapping[DatasetSpec, Sequence[int]], registry: Registry, seed: int
    ) -> None:
        self._reported = reported
        self._registry = registry
        self._seed = seed

    def planned(self, asked: Requiring, model: ModelSpec) -> dict[Anchor, AnchorJob]:
        """The job for each anchor that the options require.

        Raises `ConfigError` if there are too few facts.
        """
        return {
            need: AnchorJob(
                model=model,
                prefixes=str(paths.prefixes(model.name)),
                sets=self._sets(need),
                options=need.options,
            )
            for need in needs(asked, Anchor)
        }

    def _sets(self, need: Anchor) -> tuple[DatasetCases, ...]:
        pool = self._own if need.facts is None else self._of_file(need.facts)
        chosen = pool[: need.cases]
        if len(chosen) < LEAST:
            raise ConfigError(
                f"a norm anchor is a mean over at least {LEAST} facts, and there are "
                f"{len(chosen)}; name a file with more of them in the option `facts`"
            )
        by_set: dict[DatasetSpec, list[int]] = {}
        for dataset, request in chosen:
            by_set.setdefault(dataset, []).append(request.case_id)
        return tuple(
            DatasetCases(dataset=dataset, case_ids=tuple(sorted(ids)))
            for dataset, ids in by_set.items()
        )

    @cached_property
    def _own(self) -> list[Fact]:
        """The facts of the study's data sets in a random order, those that it edits last."""
        edited = {(spec.path, case) for spec, ids in self._reported.items() for case in ids}
        facts: dict[tuple[str, int], Fact] = {}
        for spec in self._reported:
            for request in preflight.cases(spec.file, self._registry)[1]:
                facts.setdefault((spec.path, request.case_id), (spec, request))
        mixed = self._mixed(facts.values())
        return sorted(mixed, key=lambda fact: (fact[0].path, fact[1].case_id) in edited)

    def _of_file(self, facts: str) -> list[Fact]:
        path = data_file(facts)
        found, requests = preflight.cases(DataFile(path), self._registry)
        code = self._registry.dataset_formats[found].foreign_code
        spec = DatasetSpec(name="anchor", path=path, format=found, format_code=code)
        return self._mixed([(spec, request) for request in requests])

    def _mixed(self, facts: Iterable[Fact]) -> list[Fact]:
        """Those that have v*, in an order drawn by the study's seed."""
        usable = [fact for fact in facts if fact[1].names_subject and not fact[1].flaw]
        random.Random(f"{self._seed}:anchor").shuffle(usable)
        return usable
