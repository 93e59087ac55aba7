"""What trackers are sent of a finished study: its configuration, numbers, tables and figures."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from editcore.errors import DataError
from editcore.planning.paths import STUDY_FILE
from editcore.planning.study import listed_config
from editcore.report.data import read

KEYS = ("model", "editor", "dataset")
SUMMARY, FIGURES, PAGE = "summary", "figures", "report.html"
# Columns of the verdicts that are metrics as they are.
COLUMNS = (
    *("perplexity_base", "ratio_median", "ratio_max"),
    *("efficacy_mean", "efficacy_prefixed_mean", "generalization_mean", "locality_mean"),
)


@dataclass(frozen=True)
class FinishedStudy:
    """The results of a study as its report has them.

    `groups` are the rows of its verdicts, `files` its report, figures and summary tables, by path
    relative to `folder`.
    """

    folder: Path
    config: Mapping[str, Any]
    groups: Sequence[Mapping[str, Any]]
    files: Sequence[Path]

    @property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that only a study with these results has.

        A tracker's run is named after them, so publishing twice does not make a second run.
        """
        content = json.dumps([self.config, self.groups], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers by `model/editor/dataset/name`; those that were not measured are left out."""
        return {
            "/".join([*(group[key] for key in KEYS), name]): float(value)
            for group in self.groups
            for name, value in _numbers(group)
            if value is not None
        }


def _numbers(group: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    """The numbers of one model, editor and data set; shares are of the edits that succeeded."""
    made, failed = group["n_ok"], group["n"] - group["n_ok"]
    yield "edits", group["n"]
    yield "failed", failed
    for name in ("collapsed", "damaged"):
        count = group[f"n_{name}"]
        yield f"{name}_share", count / made if made and count is not None else None
    for name in COLUMNS:
        yield name, group[name]


def finished(folder: Path) -> FinishedStudy:
    """Read the study in a results folder; raises `DataError` if it is not finished."""
    if not (folder / PAGE).is_file():
        raise DataError(
            f"{folder} has no {PAGE}, so it contains no finished study; run the study to its end, "
            "or give the folder of its results"
        )
    config = listed_config(folder / STUDY_FILE.relative_to(STUDY_FILE.parts[0]))
    data = read(folder / SUMMARY, config)
    inside = [*(folder / FIGURES).glob("*.svg"), *(folder / SUMMARY).glob("*.parquet")]
    files = [Path(PAGE), *sorted(file.relative_to(folder) for file in inside)]
    return FinishedStudy(folder, config.model_dump(mode="json"), data.groups(), files)


Tracker = Callable[[FinishedStudy, str], str]
# Where a tracker's function is: it sends a study under a name, and returns where it can be seen.
TRACKERS: Mapping[str, str] = MappingProxyType(
    {
        "wandb": "editcore.publish.weights_and_biases:log",
        "mlflow": "editcore.publish.mlflow_run:log",
    }
)
