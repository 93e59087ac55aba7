"""A model and its edited version: whether they can be compared, and what both are asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore.config.collapse import CollapseSection
from editcore.config.messages import shown
from editcore.config.stages import DownstreamSection
from editcore.config.study import StudyConfig
from editcore.config.texts import MomentSection
from editcore.datasets.invented_world import downstream_tasks, notes
from editcore.datasets.readers import read_requests
from editcore.errors import ModelError
from editcore.planning import preflight
from editcore.planning.jobs import ModelSpec, PerplexitySpec, PrefixJob
from editcore.planning.sources import model_spec, perplexity_spec, prefix_job
from editcore.registry.registry import Registry
from editcore.requests import EditRequest
from editcore.runs.prepare import named_model, settings_without_editor

# Keys of a `config.json` that do not alter what a model computes from its weights.
ALIKE = frozenset(
    ("_name_or_path", "architectures", "auto_map", "bos_token_id", "dtype", "eos_token_id",
     "initializer_range", "pad_token_id", "quantization_config", "task_specific_params",
     "tokenizer_class", "torch_dtype", "transformers_version", "use_cache")
)  # fmt: skip
# Keys without which two models have no weights in common.
SHAPE = (
    "model_type", *preflight.DEPTH_KEYS, "vocab_size", "hidden_size", "n_embd", "d_model",
    "intermediate_size", "n_inner", "num_attention_heads", "n_head", "num_key_value_heads",
    "tie_word_embeddings",
)  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The two models, and what both are asked: texts, facts and tasks.

    `files` are those that the base is loaded from, and `notes` what the reader of the results
    should know first.
    """

    base: ModelSpec
    edited: ModelSpec
    files: tuple[str, ...]
    perplexity: PerplexitySpec
    rule: CollapseSection
    prefixes: PrefixJob
    requests: tuple[EditRequest, ...] = ()
    tasks: tuple[str, ...] = ()
    task_items: int | None = None
    notes: tuple[str, ...] = ()


def plan(
    edited: str,
    base: str,
    registry: Registry,
    facts: Path | None = None,
    tasks: Sequence[str] | None = None,
    config: Path | None = None,
) -> Comparison:
    """The comparison of an edited model with its base, which decides on texts and settings.

    `tasks` that are empty are the study's. Imports no torch. Raises `EditcoreError` for what a
    study is refused for, and `ModelError` if the two models differ in more than weights.
    """
    settings, label = settings_without_editor(base, config)
    model = model_spec(label, settings.models[label], registry)
    other = _edited(edited, model, settings, registry)
    told = notes(settings.model_copy(update={"moments": MomentSection(), "downstream": None}))
    files = [*preflight.model_files(model.source)]
    files += preflight.chat_files(model.source) if model.chat else []
    preflight.model_files(other.source)
    requests = read_requests(facts, registry=registry) if facts else []
    section = settings.downstream or DownstreamSection()
    chosen = () if tasks is None else tuple(tasks) or downstream_tasks(section.tasks, model.source)
    if chosen:
        preflight.tasks(chosen)
    return Comparison(
        model,
        other,
        tuple(map(str, files)),
        perplexity_spec(settings.perplexity, model),
        settings.collapse,
        prefix_job(settings.prefixes, model, settings.seed),
        tuple(requests),
        chosen,
        section.limit,
        (*told, *_other_settings(model, other)),
    )


def _edited(name: str, base: ModelSpec, settings: StudyConfig, registry: Registry) -> ModelSpec:
    """The edited model, computed in the same numbers as its base."""
    label, section = named_model(name, settings)
    as_base = {key: getattr(base, key) for key in ("dtype", "device", "precision", "chat")}
    return model_spec(label, section.model_copy(update=as_base), registry)


def _other_settings(base: ModelSpec, edited: ModelSpec) -> list[str]:
    """A note on settings of the two models that differ; `ModelError` if shapes do."""
    one, two = (_settings(spec) for spec in (base, edited))
    differ = [key for key in one if key in two and one[key] != two[key]]
    if key := next((key for key in SHAPE if key in differ), None):
        raise ModelError(
            f"{edited.source} and {base.source} are not one model before and after an edit: their "
            f"config.json has {shown(two[key])} and {shown(one[key])} as {key}; give two models of "
            "one architecture and vocabulary"
        )
    if not differ:
        return []
    pairs = [f"{key} ({shown(one[key])} in {base.source}, now {shown(two[key])})" for key in differ]
    return [f"note: the two models also differ in their config.json: {', '.join(pairs)}"]


def _settings(spec: ModelSpec) -> Mapping[str, Any]:
    """What a model's `config.json` sets of what it computes."""
    found = preflight.configuration(spec.source, spec.revision)
    return {k: v for k, v in found.items() if k not in ALIKE and "drop" not in k and v is not None}
