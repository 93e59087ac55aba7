"""Finds the candidate cases that are hard: a single edit of them collapses a model.

"The Butterfly Effect of Model Editing", §6, does so with one editor and one model; here it can be
any model and editor of a study, with the study's own thresholds.
"""

from pathlib import Path

import polars as pl

from editcore.collapse.verdict import judged
from editcore.config.messages import nearest
from editcore.config.study import DatasetSection, StudyConfig
from editcore.errors import ConfigError
from editcore.records.tables import read_edits
from editcore.runs.prepare import Say, prepare, single_study


def require_judges(config: StudyConfig, where: str, model: str, editor: str) -> None:
    """Raise `ConfigError` if the study has no model or no editor of these labels."""
    for section, label in (("models", model), ("editors", editor)):
        if label not in (known := getattr(config, section)):
            raise ConfigError(
                f"{where}: {section}: nothing has the label {label!r}. {nearest(label, known)}"
            )


def collapsing(
    config: StudyConfig, where: str, model: str, editor: str, cases: Path, work: Path, say: Say
) -> list[int]:
    """The ids of those cases in the file `cases` whose edit collapses the model.

    `model` and `editor` are labels of the study, whose settings apply. The rows, the weight changes
    and the artefacts are written to the folder `work`; artefacts found there are used again.
    """
    require_judges(config, where, model, editor)
    candidates = DatasetSection(path=str(cases), format="counterfact")
    job = prepare(single_study(config, model, editor, candidates), where, work, say)
    from editcore.runs import edit  # imported late: torch, not needed to refuse labels

    rows = work / "rows.parquet"
    edit.run(job, rows, work / "deltas.safetensors")
    hard = judged(read_edits([rows]), config.collapse).filter(pl.col("collapsed"))
    return [int(case_id) for case_id in hard["case_id"]]
