"""The section on keys by layer shows medians over sound cases, and the README's first look."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from editcore.records.model_schemas import LAYERS
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing
from editcore.report.sections import layers
from refresh.claims import layers as layer_claims
from refresh.documents import (
    FIRST_FIGURE,
    FIRST_LOOK,
    LAYERS_FIGURE,
    README,
    between,
    write_first_look,
)

ROOT = Path(__file__).parents[2]


def rows(dataset: str, shares: list[float], layer: int = 2) -> list[dict[str, Any]]:
    """One case for each share, at one layer of the model `small`."""
    about = {"model": "small", "dataset": dataset, "layer": layer, "status": "ok"}
    return [
        about | {"case_id": i, "denominator_share": share, "key_cosine": share}
        for i, share in enumerate(shares)
    ]


@pytest.fixture
def with_layers(study: ReportData, tmp_path: Path) -> Any:
    """`with_layers(rows) -> ReportData` that has these rows as its keys by layer."""

    def make(found: list[dict[str, Any]]) -> ReportData:
        write_table(tmp_path / "layers.parquet", found, LAYERS, {})
        return replace(study, folder=tmp_path)

    return make


def test_a_study_without_keys_by_layer_has_no_such_section(study: ReportData) -> None:
    assert layers.section(study) is None


def test_the_table_has_medians_over_the_cases_that_have_keys(with_layers: Any) -> None:
    broken = {"model": "small", "dataset": "hard", "layer": 2, "case_id": 9, "status": "too long"}
    found = [*rows("hard", [0.01, 0.02, 0.9]), broken]
    section = layers.section(with_layers(found))
    assert section is not None
    (row,) = section.tables[0].rows
    assert row[:5] == ("small", "2", "hard", "0.0200", "0.0200")
    assert row[-1] == "3"


def test_a_share_that_is_negative_is_drawn_at_the_axis_end(with_layers: Any) -> None:
    found = [*rows("hard", [-0.3, -0.2]), *rows("normal", [0.8, 0.9])]
    section = layers.section(with_layers(found))
    assert section is not None
    with drawing():
        figure = section.drawings[0].draw()
        share = figure.axes[1]
    assert share.get_yscale() == "log"
    heights = [line.get_ydata()[0] for line in share.lines if line.get_label() == "hard"]
    assert heights == [layers.LEAST]


def test_the_edited_layer_is_marked(with_layers: Any) -> None:
    assert layers.edited_layers(with_layers(rows("hard", [0.1])), "small") == [2]


def test_the_claim_on_keys_holds_only_where_they_are_apart(with_layers: Any) -> None:
    (claim,) = layer_claims(with_layers(rows("hard", [0.02]) + rows("normal", [0.8])))
    assert claim.holds
    assert "0.0200 on hard and 0.800 on normal cases at layer 2 of `small`" in claim.text
    (claim,) = layer_claims(with_layers(rows("hard", [0.5]) + rows("normal", [0.8])))
    assert not claim.holds


def test_a_study_of_one_model_fills_the_readme_s_first_look(
    with_layers: Any, summary_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / README, tmp_path / README)
    shutil.copy(summary_dir / "warning.parquet", tmp_path)
    both = with_layers(rows("hard", [0.02]))
    study = replace(both, models=("small",), verdicts=both.verdicts.filter(model="small"))
    assert write_first_look(study, tmp_path) == [README, FIRST_FIGURE, LAYERS_FIGURE]
    new, old = ((folder / README).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
    assert between(new, "x", *FIRST_LOOK) == between(old, "x", *FIRST_LOOK)
    assert between(new, "x", *FIRST_LOOK) != new
    assert f"]({FIRST_FIGURE})" in new
    assert "on the other model" not in new.split(FIRST_LOOK[0])[1].split(FIRST_LOOK[1])[0]
    assert (tmp_path / LAYERS_FIGURE).stat().st_size > 1000


def test_tables_that_another_study_left_behind_are_not_shown(with_layers: Any) -> None:
    study = with_layers(rows("hard", [0.02]))
    assert layers.section(study) is not None
    other = replace(study, config=study.config.model_copy(update={"layers": None}))
    assert layers.section(other) is None
