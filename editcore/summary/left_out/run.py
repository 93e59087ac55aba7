"""Tests the warning over several studies: fitted on all models but one, tested on that one."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from editcore.atomic import write_text
from editcore.collapse import backtest
from editcore.collapse.backtest import ALL, FORECASTS, OTHERS
from editcore.collapse.verdict import judged
from editcore.config.collapse import CollapseSection
from editcore.datasets.bundled import bundled_name
from editcore.errors import DataError
from editcore.numbers import listed, plural
from editcore.records.model_schemas import WARNING
from editcore.records.provenance import made_by
from editcore.records.schemas import CASES, DOWNSTREAM
from editcore.records.tables import (
    OLD_CASES,
    read_older,
    read_provenance,
    read_table,
    write_table,
)
from editcore.requests import OK
from editcore.summary.grade_check import compared


@dataclass(frozen=True)
class Backtest:
    """The edits of several studies, the source of each model by label, and the table `WARNING`.

    All edits are judged by `rule`. `grades` compares grades with task scores
    (`editcore.summary.grade_check`), of the studies that have some.
    """

    edits: pl.DataFrame
    sources: Mapping[str, str]
    table: pl.DataFrame
    rule: CollapseSection
    grades: Sequence[Mapping[str, Any]] = ()

    @property
    def made_from(self) -> str:
        """The models and the numbers of their edits that succeeded, in words."""
        made = self.edits.filter(pl.col("status") == OK)
        counts = made.group_by("model").len().sort("model").iter_rows()
        return listed([f"{plural(count, 'edit')} of {model}" for model, count in counts])

    @property
    def left_out(self) -> pl.DataFrame:
        """The rows that are fitted on all models but the tested one, for all editors together."""
        rows = self.table.filter(pl.col("calibrated_on") == OTHERS, pl.col("n") > 0)
        several = rows.filter(editor=ALL)
        found = rows if several.is_empty() else several
        return found.sort("target", "predictor", "tested_on", descending=[True, False, False])

    def save(self, folder: Path) -> Path:
        """Write the table as `warning.parquet`."""
        path = folder / "warning.parquet"
        write_table(path, self.table, WARNING, {"made_by": made_by(), "models": self.sources})
        return path

    def save_calibration(self, path: Path) -> None:
        """Write the calibrations on all models, with how well they did on each when left out.

        Raises `DataError` if harm cannot be predicted from these edits.
        """
        made = backtest.forecaster(self.edits, self.rule, self.sources, self.made_from)
        if made.harmed is None:
            raise DataError(
                f"harm cannot be predicted from {self.made_from}: none or all of those with "
                f"{FORECASTS['harmed']} did harm; give studies made by this version, in which some "
                "did"
            )
        rows = self.left_out.filter(predictor=FORECASTS["harmed"], target="harmed")
        found = ("recall", "precision", "false_alarms")
        left_out = {row["tested_on"]: {n: row[n] for n in found} for row in rows.to_dicts()}
        write_text(path, replace(made, left_out=left_out).as_json())


def run(folders: Sequence[Path], rule: CollapseSection | None = None) -> Backtest:
    """The test over the studies whose results are in some folders.

    All edits are judged by `rule`, or by the default thresholds, whatever those of their study. A
    model is the same in several studies if it was loaded from the same source; edited at other
    layers, it gets another label, and is still left out with all its edits. Raises `DataError`
    without two models.
    """
    rule = rule or CollapseSection()
    studies = [_Study.read(folder, rule) for folder in folders]
    labels = _labels([part for study in studies for part in study.parts])
    sources = dict(sorted((label, part.source) for part, label in labels.items()))
    if len(set(sources.values())) < 2:
        raise DataError(
            f"{listed([str(folder) for folder in folders])}: contain edits of only one model, "
            "so nothing is left to fit on; give studies of several models"
        )
    edits = pl.concat(
        [study.labelled(labels, study.cases) for study in studies], how="diagonal_relaxed"
    )
    table = backtest.evaluate(edits, rule, aliases=sources)
    scores = [study.labelled(labels, study.scores) for study in studies if len(study.scores)]
    grades = compared(edits, pl.concat(scores)) if scores else []
    return Backtest(edits, sources, table, rule, grades)


@dataclass(frozen=True)
class _Part:
    """A model of a study: its label there, its source, and the layers edited."""

    label: str
    source: str
    layers: tuple[int, ...]


@dataclass(frozen=True)
class _Study:
    cases: pl.DataFrame
    parts: Sequence[_Part]
    scores: pl.DataFrame

    @classmethod
    def read(cls, folder: Path, rule: CollapseSection) -> "_Study":
        path = folder / "summary" / "cases.parquet"
        cases = judged(read_older(path, CASES, OLD_CASES), rule)
        about = read_provenance(path)
        layers = tuple(sorted(_layers(about.get("editors", {}))))
        models = about.get("models", {})
        named = {label: str(models.get(label, {}).get("source", label)) for label in cases["model"]}
        parts = [_Part(k, bundled_name(v) or v, layers) for k, v in sorted(named.items())]
        tasks = folder / "summary" / "downstream.parquet"
        scores = read_table(tasks, DOWNSTREAM) if tasks.is_file() else pl.DataFrame()
        return cls(cases, parts, scores)

    def labelled(self, labels: Mapping[_Part, str], table: pl.DataFrame) -> pl.DataFrame:
        """A table of the study, with the labels that are unique over the studies."""
        new = {part.label: labels[part] for part in self.parts}
        return table.with_columns(model=pl.col("model").replace(new))


def _layers(editors: Mapping[str, Mapping[str, Any]]) -> Iterator[int]:
    """The layers of all editors that edit one layer."""
    found = {str(editor.get("options", {}).get("layer")) for editor in editors.values()}
    yield from (int(layer) for layer in found if layer.isdigit())


def _labels(parts: Sequence[_Part]) -> dict[_Part, str]:
    """A label of each part; it contains the layers if others have the same label."""
    shared = Counter(part.label for part in set(parts))
    return {
        part: part.label if shared[part.label] == 1 else f"{part.label}, {_in_words(part.layers)}"
        for part in parts
    }


def _in_words(layers: Sequence[int]) -> str:
    """`layer 7`, or `layers 5 and 15`."""
    return f"{'layer' if len(layers) == 1 else 'layers'} {listed([str(n) for n in layers])}"
