"""The section on treated models shows each mean with its interval and what was known before."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editcore.config.stages import SurvivalSection
from editcore.records.model_schemas import SURVIVAL_MEANS
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing
from editcore.report.sections import treated


def mean(editor: str, treatment: str, value: float | None, **changes: Any) -> dict[str, Any]:
    """A row of means over 20 edits of the model `small` on hard cases."""
    row: dict[str, Any] = {"model": "small", "editor": editor, "dataset": "hard"}
    row |= {"treatment": treatment, "n": 20, "n_ok": 20, "efficacy_n": 0}
    row["rounded_as"] = "bitsandbytes NF4" if treatment.startswith("4-bit") else None
    row |= {"n_damaged": 0, "n_collapsed": 0}
    if value is not None:
        row |= {"efficacy_mean": value, "efficacy_low": value - 0.1, "efficacy_high": value + 0.05}
        row |= {"efficacy_n": 20, "efficacy_unedited_mean": 0.01}
    return row | changes


@pytest.fixture
def with_treated(study: ReportData, tmp_path: Path) -> ReportData:
    """Two editors, one of which could not be pruned."""
    rows = [
        mean("alpha", "untreated", 0.95),
        mean("alpha", "4-bit", 0.8, perplexity_ratio_median=1.5, n_damaged=3, n_collapsed=1),
        mean("alpha", "pruned", 0.5),
        mean("beta", "untreated", 0.85),
        mean("beta", "4-bit", 0.4),
        mean("beta", "pruned", None, n_ok=0, failures='{"quantised": 20}'),
    ]
    write_table(tmp_path / "survival.parquet", rows, SURVIVAL_MEANS, {})
    config = study.config.model_copy(update={"survival": SurvivalSection()})
    return replace(study, folder=tmp_path, config=config)


def test_the_sentence_and_the_table_are_of_the_edits_that_were_measured(
    with_treated: ReportData, study: ReportData
) -> None:
    section = treated.section(with_treated)
    assert section is not None
    assert section.point == "Edits of small lose most efficacy when pruned (from 0.90 to 0.50)."
    assert section.paragraphs[1:] == ("Weights were rounded as bitsandbytes NF4 stores them.",)
    first, second, *_, last = section.tables[0].rows
    assert first[3:7] == ("untreated", "20", "0", "0.95 (0.85 to 1.00)")
    assert (second[3], *second[-3:]) == ("4-bit", "×1.50", "3", "1")
    assert last[1:7] == ("beta", "hard", "pruned", "0", "20", "–")
    assert treated.section(study) is None
    assert treated.section(replace(with_treated, config=study.config)) is None


def test_editors_are_below_each_other_at_each_treatment(with_treated: ReportData) -> None:
    section = treated.section(with_treated)
    assert section is not None
    with drawing():
        (axes,) = section.drawings[0].draw().axes
        ticks = [label.get_text() for label in axes.get_yticklabels()]
    assert ticks == ["untreated", "4-bit", "pruned"]
    assert axes.get_xlabel() == "efficacy"
    bottom, top = axes.get_ylim()
    assert bottom > top, "untreated models are above the others"
    points = [bar.lines[0] for bar in axes.containers]
    places = sorted((float(p.get_ydata()[0]), float(p.get_xdata()[0])) for p in points)
    assert [round(x) for x, _ in places] == [0, 0, 1, 1, 2]
    assert [y for _, y in places] == [0.95, 0.85, 0.8, 0.4, 0.5]
    assert len({p.get_color() for p in points}) == len({p.get_marker() for p in points}) == 2
