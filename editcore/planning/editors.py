"""The editors of a study: which are installed, and their checked options for each model."""

from contextlib import AbstractContextManager
from dataclasses import asdict

from editcore.config.messages import validated
from editcore.config.options import (
    EditorConfig,
    EditorWrapperConfig,
    Moments,
    Requiring,
    Spectrum,
    TransformConfig,
    WrappedOptions,
    key_strategy_of,
    needs,
)
from editcore.config.study import StudyConfig, TransformSection
from editcore.errors import ConfigError, at
from editcore.planning import editor_options, preflight
from editcore.planning.jobs import EditorSpec, ModelSpec, TransformSpec
from editcore.registry.catalogue import Registered
from editcore.registry.hookspecs import EditorInfo
from editcore.registry.registry import Registry


class EditorPlanner:
    """Checks each editor of a study; `where` is the file that messages point to."""

    def __init__(self, config: StudyConfig, where: str, registry: Registry) -> None:
        self._config = config
        self._where = where
        self._registry = registry

    def resolved(self, model: ModelSpec, label: str) -> tuple[WrappedOptions, EditorSpec]:
        """The options of the editor `label` and its wrappers for a model, and its part of a job.

        Raises `EditcoreError` for an unknown editor, option, key strategy or transform, and for a
        layer outside the model.
        """
        uses = self._config.editors[label].uses or label
        with self._at(f"editors.{label}"):
            found = self._registry.editors[uses]
        options = self._options(model, label, found)
        steps = self._transforms(label, found.record)
        wrappers = [each for each, _ in steps if isinstance(each, EditorWrapperConfig)]
        asked = WrappedOptions(options, tuple(wrappers))
        with self._at(f"editors.{label}.transforms"):
            editor_options.require_combinable(asked)
        read = (*options.edited_layers(), *moment_layers(asked))
        with self._at(f"editors.{label}"):
            preflight.layers(model.source, model.revision, read)
        spec = EditorSpec(
            label=label,
            uses=uses,
            options=options.model_dump(mode="json"),
            **asdict(found.source),
            key_code=self._key_code(asked),
            transforms=tuple(spec for _, spec in steps),
        )
        return asked, spec

    def _at(self, place: str) -> AbstractContextManager[None]:
        return at(f"{self._where}: {place}")

    def _options(self, model: ModelSpec, label: str, found: Registered[EditorInfo]) -> EditorConfig:
        choice = self._config.editors[label]
        given = choice.options | choice.options_by_model.get(model.name, {})
        place = f"{self._where}: editors.{label}.options for {model.name}"
        return editor_options.checked(found, given, self._registry, place)

    def _key_code(self, options: Requiring) -> dict[str, str]:
        """The source hash of the key strategy, by name, if it is a third party's."""
        name = key_strategy_of(options)
        return self._registry.key_strategies.foreign_code([] if name is None else [name])

    def _transforms(
        self, label: str, editor: EditorInfo
    ) -> list[tuple[TransformConfig, TransformSpec]]:
        chosen = self._config.editors[label].transforms
        if chosen and not editor.capabilities.changes_weights:
            raise ConfigError(
                f"{self._where}: editors.{label}.transforms: {editor.name!r} changes no weights, "
                "so there is nothing to transform; remove this key"
            )
        return [
            self._transform(choice, f"{self._where}: editors.{label}.transforms.{place}")
            for place, choice in enumerate(chosen)
        ]

    def _transform(
        self, choice: TransformSection, place: str
    ) -> tuple[TransformConfig, TransformSpec]:
        with at(place):
            found = self._registry.transforms[choice.uses]
        options = validated(found.record.config, choice.options, f"{place}.options")
        given = options.model_dump(mode="json")
        return options, TransformSpec(uses=choice.uses, options=given, **asdict(found.source))


def moment_layers(options: Requiring) -> tuple[int, ...]:
    """The layers whose second moments an editor with these options reads, in order."""
    layers = {need.layer for need in needs(options, Moments)}
    return tuple(sorted(layers | {need.layer for need in needs(options, Spectrum)}))
