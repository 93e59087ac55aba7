"""Checks the cases on which a study shows why edits collapse a model."""

from collections.abc import Sequence

from editcore.config.messages import nearest
from editcore.config.stages import MechanismSection
from editcore.config.study import StudyConfig
from editcore.errors import ConfigError, at
from editcore.planning import preflight
from editcore.planning.cases import Cases


def mechanism_sets(
    choice: MechanismSection, where: str, config: StudyConfig, shards: Sequence[Cases]
) -> tuple[Cases, Cases]:
    """The first shards of the hard and of the normal cases.

    Raises `ConfigError` for an unknown label, and for cases that are not edited alone or are of
    several facts; `ModelError` for an encoder that is incomplete.
    """
    place = f"{where}: mechanism"
    sets = list(config.datasets)
    for key, known in {"editor": list(config.editors), "hard": sets, "normal": sets}.items():
        if (label := getattr(choice, key)) not in known:
            raise ConfigError(
                f"{place}.{key}: nothing in this study has the label {label!r}. "
                f"{nearest(label, known)}"
            )
    if choice.encoder is not None:
        with at(f"{place}.encoder"):
            preflight.without_wildcards(map(str, preflight.model_files(choice.encoder)))
    first = {each.dataset.name: each for each in shards if each.shard == 0}
    for key in ("hard", "normal"):
        if (label := getattr(choice, key)) not in first:
            raise ConfigError(
                f"{place}.{key}: {label!r} has `single_edits: false`, and the mechanism is shown "
                "on single edits; name another data set"
            )
        with at(f"{place}.{key}"):
            first[label].require_one_fact("the mechanism is that of one fact")
    return first[choice.hard], first[choice.normal]
