"""Small studies for the tests: a few facts, a few texts, and models that are only files."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field

from editcore import (
    Capabilities,
    ConfigError,
    DeltaTransformInfo,
    EditorConfig,
    EditorInfo,
    EditorWrapperConfig,
    EditorWrapperInfo,
    Keys,
    KeyStrategyInfo,
    MetricInfo,
    Moments,
    Prefixes,
    Requirement,
    Trained,
    TransformConfig,
    builtin,
    hookimpl,
)
from editcore.registry.candidates import Candidate
from editcore.registry.registry import Registry, load_registry

TEXTS = [
    "The maker of Coral is Elro, and Elro is based in Tavel.",
    "You said that the coral reef was bright. I think that it was not.",
    "Because it rained, I stayed at home and you went to the harbor with the lamp.",
    "The sea is quiet in the north, and the people of Tavel like it.",
]
# ROME on a bundled model, with few texts, prefixes and steps.
SMALL: dict[str, Any] = {
    "models": {"tiny-gpt2": {}},
    "editors": {"rome": {"options": {"layer": 2, "steps": 10}}},
    "datasets": {"hard": {"path": "resources/world/hard.json"}},
    "perplexity": {"texts": 6},
    "prefixes": {"lengths": [[4, 3]]},
    "moments": {"tokens": 4000},
}
SUBJECTS = ("Coral", "Harbor", "Tavel", "Elro")


def record(case_id: int, subject: str) -> dict[str, Any]:
    """A fact in the flat format."""
    return {
        "case_id": case_id,
        "prompt": f"{subject} is made by",
        "subject": subject,
        "target_new": "Osdor",
        "ground_truth": "Elro",
        "rephrase_prompt": f"The maker of {subject} is",
        "locality_prompt": "The sea is",
        "locality_ground_truth": "quiet",
    }


def write_json(path: Path, content: Any) -> Path:
    """Write a JSON file, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_data(folder: Path) -> None:
    """Write the data files that `study_config` names."""
    facts = [record(10 + number, subject) for number, subject in enumerate(SUBJECTS)]
    write_json(folder / "data" / "facts.json", facts)
    write_json(folder / "data" / "texts.json", TEXTS)


def model_files(folder: Path, layers: int = 3) -> Path:
    """The files of a saved model that planning reads; it cannot be loaded."""
    write_json(folder / "config.json", {"model_type": "gpt2", "n_layer": layers})
    write_json(folder / "tokenizer.json", {})
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def study_config(**sections: Any) -> dict[str, Any]:
    """A study of the model in the folder `model`; given sections override those here."""
    return {
        "shard_size": 3,
        "models": {"tiny": {"source": "model"}},
        "editors": {"plain": {"options": {"layer": 1}}},
        "datasets": {"facts": {"path": "data/facts.json"}},
        "perplexity": {"path": "data/texts.json", "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": "data/texts.json", "tokens": 500},
        "metrics": ["accuracy"],
        **sections,
    }


def write_random_study(folder: Path, model: Path) -> Path:
    """A study of the model `random` with ROME without C, in which hardly anything collapses."""
    study = {
        "models": {"random": {"source": str(model)}},
        "editors": {"rome": {"options": {"layer": 1, "steps": 3, "second_moment": False}}},
        "datasets": {"facts": {"path": str(write_json(folder / "facts.json", [record(0, "A")]))}},
        "perplexity": {"path": str(write_json(folder / "texts.json", TEXTS)), "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "collapse": {"ratio": 1e12},
    }
    return write_config(folder / "study.yaml", study)


def write_config(path: Path, config: dict[str, Any]) -> Path:
    """Write a study as YAML."""
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


class PlainConfig(EditorConfig):
    """Options of an editor that exists only in these tests."""

    layer: int = Field(description="The edited block.")
    strength: float = 1.0
    key_strategy: str = "even"
    second_moment: bool = True

    def requires(self) -> tuple[Requirement, ...]:
        """The artefacts of a typical editor."""
        moments = (Moments(self.layer),) if self.second_moment else ()
        return (Prefixes(), Keys(self.key_strategy), *moments)

    def edited_layers(self) -> tuple[int, ...]:
        """The one layer."""
        return (self.layer,)


class LearnerConfig(EditorConfig):
    """Options of an editor that needs training."""

    layer: int = 1
    steps: int = 3
    strength: float = 1.0
    learnt: str | None = None

    def requires(self) -> tuple[Requirement, ...]:
        """A training that depends on layer and steps."""
        return (Trained(("layer", "steps"), ("data/facts.json",), self.learnt),)


class ShrinkConfig(TransformConfig):
    """Options of a transform that exists only in these tests."""

    factor: float = 0.5


class CarefulConfig(EditorWrapperConfig):
    """Options of a wrapper that exists only in these tests: it reads C one layer further on."""

    def requires(self, inner: EditorConfig) -> tuple[Requirement, ...]:
        """One more second moment, and an editor that edits a layer."""
        if not inner.edited_layers():
            raise ConfigError("it has nothing to be careful with; remove it")
        return tuple(Moments(layer + 1) for layer in inner.edited_layers())


class PlainPlugin:
    """A plugin whose factories are never imported in these tests."""

    EDITCORE_HOOKSPEC = 2

    @hookimpl
    def editcore_editors(self) -> Iterator[EditorInfo]:
        yield EditorInfo("plain", "Edits plainly.", "", PlainConfig, "nowhere:Plain")
        yield EditorInfo("learner", "Learns.", "", LearnerConfig, "nowhere:Learner")
        elsewhere = Capabilities(changes_weights=False)
        only = Capabilities(sequential=False)
        yield EditorInfo("once", "Edits once.", "", EditorConfig, "nowhere:Once", only)
        several = Capabilities(batched=True)
        yield EditorInfo("many", "Edits several.", "", EditorConfig, "nowhere:Many", several)
        yield EditorInfo("aside", "Edits aside.", "", EditorConfig, "nowhere:Aside", elsewhere)

    @hookimpl
    def editcore_key_strategies(self) -> Iterator[KeyStrategyInfo]:
        yield KeyStrategyInfo("even", "Keys evenly.", "", "nowhere:even")

    @hookimpl
    def editcore_delta_transforms(self) -> Iterator[DeltaTransformInfo]:
        yield DeltaTransformInfo("shrink", "Shrinks.", "", ShrinkConfig, "nowhere:shrink")

    @hookimpl
    def editcore_editor_wrappers(self) -> Iterator[EditorWrapperInfo]:
        yield EditorWrapperInfo("careful", "Takes care.", "", CarefulConfig, "nowhere:Careful")

    editcore_datasets = staticmethod(builtin.editcore_datasets)

    @hookimpl
    def editcore_metrics(self) -> Iterator[MetricInfo]:
        yield MetricInfo("accuracy", "Counts.", "", "nowhere:accuracy", ("accuracy",))


def plain_registry() -> Registry:
    """A registry with only the plugin above."""
    return load_registry([Candidate("plain", "editcore-plain", "1.2", PlainPlugin)])
