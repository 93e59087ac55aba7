"""Keeps of candidate cases those that are hard: whose edit alone collapses a model.

"The Butterfly Effect of Model Editing", §6, filters so with one editor and one model; here any
model and editor of a study can be the judge, under the study's own thresholds.
"""

from pathlib import Path

import polars as pl

from editcore.collapse.verdict import judged
from editcore.config.messages import nearest
from editcore.config.study import DatasetSection, StudyConfig
from editcore.errors import ConfigError
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.records.tables import read_edits
from editcore.runs import artefacts, edit

CANDIDATES = "candidates"


def collapsing(
    config: StudyConfig, where: str, model: str, editor: str, cases: Path, work: Path
) -> list[int]:
    """The ids of those cases in the file `cases` whose edit collapses the model.

    `model` and `editor` are labels of the study, whose settings count; what editing leaves behind
    stays in the folder `work`, and artefacts found there are used again.
    """
    alone = _with_candidates(config, where, model, editor, cases)
    study = plan(alone, where)
    if study.training:
        raise ConfigError(
            f"{where}: {editor!r} has to be trained first, which is a study's work; "
            "filter with an editor that needs no training"
        )
    templates = work / "prefixes.json"
    if not templates.exists():
        artefacts.write_prefixes(study.prefixes[model], templates)
    for job in study.moments.values():
        if not (work / job.key.digest).exists():
            artefacts.write_moments(job, work / job.key.digest)
    (task,) = study.edits.values()
    needed = {job.key.digest: job.layers for job in study.moments.values()}
    found = {
        layer: str(paths.moment(work / digest, layer))
        for digest, layers in needed.items()
        for layer in layers
    }
    here = {"prefixes": str(templates), "moments": found, "values": ()}
    task = task.model_copy(update=here)
    rows = work / "rows.parquet"
    edit.run(task, rows, work / "deltas.safetensors")
    hard = judged(read_edits([rows]), config.collapse).filter(pl.col("collapsed"))
    return [int(case_id) for case_id in hard["case_id"]]


def _with_candidates(
    config: StudyConfig, where: str, model: str, editor: str, cases: Path
) -> StudyConfig:
    """The study with one model, one editor, and the candidates as its only data set, in a shard."""
    for section, label in (("models", model), ("editors", editor)):
        if label not in (known := getattr(config, section)):
            raise ConfigError(f"{where}: {section}: no {label!r} here. {nearest(label, known)}")
    chosen = config.editors[editor]
    options = {label: given for label, given in chosen.options_by_model.items() if label == model}
    return config.model_copy(
        update={
            "models": {model: config.models[model]},
            "editors": {editor: chosen.model_copy(update={"options_by_model": options})},
            "datasets": {CANDIDATES: DatasetSection(path=str(cases), format="counterfact")},
            "shard_size": 1_000_000,
            "sequences": None,
            "downstream": None,
            "mechanism": None,
        }
    )
