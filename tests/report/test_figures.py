"""Figures show every case once, name some, and are reproducible."""

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from editcore.report.data import ReportData
from editcore.report.drawing import denominator, perplexity
from editcore.report.drawing.annotate import LONGEST, MOST
from editcore.report.drawing.figures import draw_all, figure_name, save
from editcore.report.drawing.style import drawing, legend_below
from tests.report.conftest import MakeStudy
from tests.rows import edit_row, failed_row


def points(figure: Figure) -> list[tuple[float, float]]:
    """The points drawn, in data units."""
    found = [c for c in figure.axes[0].collections if isinstance(c, PathCollection)]
    return [(float(x), float(y)) for c in found for x, y in c.get_offsets()]


def words(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def draw(study: ReportData, kind: str, editor: str = "alpha") -> Figure:
    with drawing():
        module = {"perplexity": perplexity, "denominator": denominator}[kind]
        return module.draw(study, "small", editor)


def test_every_edit_made_is_a_point_in_the_band_of_its_data_set(study: ReportData) -> None:
    drawn = points(draw(study, "perplexity"))
    assert len(drawn) == 20 + 30
    assert sum(x < 0.5 for x, _ in drawn) == 20


def test_infinite_perplexity_is_above_all_finite_ones_on_its_own_tick(
    study: ReportData,
) -> None:
    figure = draw(study, "perplexity")
    heights = sorted(y for _, y in points(figure))
    finite = [row for row in study.made()["perplexity"] if math.isfinite(row)]
    labels = {t.get_text(): y for t, y in _ticks(figure)}
    assert heights[-1] == labels["∞"] > max(finite)
    assert figure.axes[0].get_ylim()[1] > heights[-1]


def _ticks(figure: Figure) -> list[tuple[object, float]]:
    axis = figure.axes[0].yaxis
    return list(zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True))  # type: ignore[arg-type]


def test_editors_of_a_model_share_the_scale(study: ReportData) -> None:
    limits = {draw(study, "perplexity", editor).axes[0].get_ylim() for editor in ("alpha", "beta")}
    assert len(limits) == 1


def test_threshold_and_unedited_perplexity_are_drawn_and_named(study: ReportData) -> None:
    figure = draw(study, "perplexity")
    heights = [float(line.get_ydata()[0]) for line in figure.axes[0].lines]  # type: ignore[index, arg-type]
    assert heights == [4.0, 40.0]
    assert {"unedited: 4", "collapsed above 40"} <= set(words(figure))


def test_only_collapsed_cases_are_named_and_names_do_not_crowd(study: ReportData) -> None:
    named = [w for w in words(draw(study, "perplexity")) if w.startswith("Word")]
    collapsed = set(study.made(model="small", collapsed=True)["subject"])
    assert 1 <= len(named) <= MOST
    assert set(named) <= collapsed
    assert named[0] == "Word4"
    assert not any(w.startswith("Word") for w in words(draw(study, "perplexity", "beta")))


def test_long_and_strange_subjects_stay_text(make_study: MakeStudy, tmp_path: Path) -> None:
    long = "An extraordinarily long subject <&> of $x$"
    study = make_study([edit_row(1, 4000.0, 0.01, subject=long), edit_row(2, subject="水")])
    figure = draw(study, "perplexity")
    save(figure, tmp_path / "a.svg")
    assert long[: LONGEST - 1] + "…" in words(figure)
    assert "An extraordinarily" in (tmp_path / "a.svg").read_text()


def test_denominators_that_have_no_logarithm_are_left_out(make_study: MakeStudy) -> None:
    rows = [edit_row(1, 400.0, 0.01), edit_row(2, 400.0, 0.0), edit_row(3, 4.0, None)]
    assert points(draw(make_study(rows), "denominator")) == [(0.01, 100.0)]


def test_an_editor_without_denominators_is_named(make_study: MakeStudy) -> None:
    figure = draw(make_study([edit_row(1, denominator=None)]), "denominator")
    assert words(figure) == ["alpha reports no denominator"]


@pytest.mark.parametrize("kind", ["perplexity", "denominator"])
def test_figures_of_a_study_in_which_all_edits_failed_can_be_drawn(
    make_study: MakeStudy, tmp_path: Path, kind: str
) -> None:
    figure = draw(make_study([failed_row(1)]), kind)
    save(figure, tmp_path / "a.svg")
    assert points(figure) == []


def test_files_are_svg_with_text_the_same_each_time_and_named_after_what_they_show(
    study: ReportData, tmp_path: Path
) -> None:
    one, two = draw_all(study, tmp_path / "one"), draw_all(study, tmp_path / "two")
    assert [path.name for path in one.values()] == [
        f"{kind}-model={model}-editor={editor}.svg"
        for model in study.models
        for editor in study.editors
        for kind in ("perplexity", "denominator")
    ]
    for key, path in one.items():
        assert path.read_bytes() == two[key].read_bytes()
        root = ET.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert f">{key[2]} on {key[1]}<" in path.read_text()
        assert not re.search(r"\d{4}-\d\d-\d\dT", path.read_text())


def test_names_of_figures_distinguish_labels_with_hyphens() -> None:
    assert figure_name("k", "a-b", "c") != figure_name("k", "a", "b-c")


def test_a_legend_is_inside_its_figure_and_leaves_the_panel_its_size() -> None:
    heights = []
    for label in ("short", "an editor of a long name"):
        with drawing():
            figure = Figure(figsize=(3.4, 2.2), layout="constrained")
            axes = figure.subplots()
            handles = axes.plot(*[[0.0]] * 12)
            for handle in handles:
                handle.set_label(label)
            legend_below(figure, handles, 3)
            figure.draw_without_rendering()
        (legend,) = figure.legends
        extent = legend.get_window_extent()
        assert extent.x0 >= 0
        assert extent.x1 <= figure.bbox.width
        assert len(legend.get_texts()) == 6
        heights.append(axes.get_window_extent().height)
    assert figure.get_figheight() > 2.2
    assert heights[1] == pytest.approx(heights[0], rel=0.02)
