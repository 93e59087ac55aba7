"""Resolves the section `sequences`: editors, facts and orders; imports no torch."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from editcore.config.alarm import shipped
from editcore.config.messages import nearest
from editcore.config.stages import SequenceSection
from editcore.config.study import StudyConfig
from editcore.config.telemetry import NAMES
from editcore.errors import ConfigError, at
from editcore.planning import preflight
from editcore.planning.jobs import EditorSpec
from editcore.registry.hookspecs import Capabilities
from editcore.registry.registry import Registry


@dataclass(frozen=True)
class SequencePlanner:
    """The section `sequences` of a study; `where` is what messages point to."""

    choice: SequenceSection
    where: str
    config: StudyConfig
    registry: Registry

    def editors(self) -> list[str]:
        """The labels of the editors; raises `ConfigError` for one that is unknown or unsuitable."""
        configured = self.config.editors
        for label in self.choice.editors or ():
            if label not in configured:
                raise ConfigError(
                    f"{self.where}.editors: no editor has the label {label!r}. "
                    f"{nearest(label, configured)}"
                )
            if not self._can(label).sequential:
                raise ConfigError(
                    f"{self.where}.editors: {label!r} cannot edit a model that it has edited "
                    "before; leave it out"
                )
        chosen = configured if self.choice.editors is None else self.choice.editors
        return [label for label in chosen if self._can(label).sequential]

    def facts(self, available: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
        """The cases of each chosen data set; raises `ConfigError` if one has too few."""
        chosen = tuple(available) if self.choice.datasets is None else self.choice.datasets
        for label in chosen:
            if label not in available:
                raise ConfigError(
                    f"{self.where}.datasets: no data set has the label {label!r}. "
                    f"{nearest(label, available)}"
                )
            if self.choice.edits is not None and len(available[label]) < self.choice.edits:
                raise ConfigError(
                    f"{self.where}.edits: {self.choice.edits} facts were asked for, but {label!r} "
                    f"has {len(available[label])}; ask for fewer, or leave the key out"
                )
        return {label: available[label] for label in chosen}

    def drawn(self, facts: Mapping[str, Sequence[int]], label: str, seed: int) -> tuple[int, ...]:
        """The cases of one sequence in their order: as many of `label` as of every other data set.

        >>> from editcore.registry.registry import load_registry
        >>> config = StudyConfig.model_construct()
        >>> sequences = SequencePlanner(SequenceSection(edits=3), "", config, load_registry([]))
        >>> sequences.drawn({"few": range(3)}, "few", seed=1)
        (2, 0, 1)
        """
        count = self.choice.edits or min(map(len, facts.values()))
        return tuple(random.Random(f"{seed}:{label}").sample(list(facts[label]), count))

    def measured(self) -> dict[str, Any]:
        """When and how every sequence is measured; `ConfigError` for a bad task."""
        if self.choice.tasks:
            with at(f"{self.where}.tasks"):
                preflight.tasks(self.choice.tasks)
        chosen = {"editors", "datasets", "edits", "seeds", "batch", "after_collapse"}
        chosen |= {"arrangements", "telemetry"}
        rule, before = self.config.collapse, self.choice.stop_before
        stops = self.choice.after_collapse == "stop"
        stop_rule = rule if before else rule.decisive() if stops else None
        alarm = shipped() if before else None
        asked = NAMES if self.choice.telemetry == "all" else self.choice.telemetry
        found = self.choice.model_dump(exclude=chosen)
        return {**found, "telemetry": asked, "stop_rule": stop_rule, "alarm": alarm}

    def batches(self, editor: EditorSpec) -> tuple[int, ...]:
        """Facts per step, one number for each sequence of the same facts."""
        asked = self.choice.batch
        several = asked if isinstance(asked, tuple) else (asked,)
        return tuple(dict.fromkeys(several)) if self._can(editor.label).batched else (1,)

    def _can(self, label: str) -> Capabilities:
        uses = self.config.editors[label].uses or label
        return self.registry.editors[uses].record.capabilities
