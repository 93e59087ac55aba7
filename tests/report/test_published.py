"""Published numbers are complete, and ours are next to them in the right rows."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from editcore.config.study import ReportSection, StudyConfig
from editcore.report import write_report
from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing
from editcore.report.papers import comparison, published_figures
from editcore.report.papers.ours import OURS
from editcore.report.papers.published import compared, content, curves, published

TABLES = content()["tables"]


@pytest.mark.parametrize("name", TABLES)
def test_every_published_table_is_rectangular(name: str) -> None:
    table = published(name)
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.heads)}
    labels = [row[: table.labels] for row in table.rows]
    assert len(set(labels)) == len(labels)


def test_every_function_of_ours_belongs_to_a_published_table() -> None:
    assert set(OURS) == set(TABLES) - {"hard-edit"}


def test_every_figure_of_published_points_is_next_to_a_compared_table() -> None:
    assert set(comparison.FIGURES) <= set(OURS)


@pytest.mark.parametrize("papers", [False, True])
def test_the_papers_are_shown_only_if_the_study_asks(
    summary_dir: Path, with_papers: StudyConfig, tmp_path: Path, papers: bool
) -> None:
    config = with_papers.model_copy(update={"report": ReportSection(papers=papers)})
    write_report(summary_dir, tmp_path, tmp_path / "report.html", config)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ('id="papers"' in page, "GPT-J: 85" in page, "Published" in page) == (papers,) * 3
    drawn = {file.stem for file in tmp_path.glob("published-*.svg")}
    assert drawn == ({"published-pilot", "published-single"} if papers else set())


def test_a_study_shows_no_papers_if_it_does_not_mention_them(config: StudyConfig) -> None:
    assert config.report == ReportSection(papers=False)


def test_the_papers_are_one_section_with_every_compared_row(
    study: ReportData, with_papers: StudyConfig
) -> None:
    named = replace(study, config=with_papers)
    section = comparison.section(named)
    assert section is not None
    (table,) = section.tables
    compared_ones = filter(None, (compared(named, name) for name in OURS))
    assert len(table.rows) == sum(len(each.rows) for each in compared_ones)
    assert section.point.startswith(f"{len(table.rows)} results ")
    assert table.heads == ("published as", "quantity", "small", "large", "published")
    made = [study.made(model=model, editor="alpha") for model in study.models]
    where = content()["tables"]["pilot"]["what"], "of them collapsed the model"
    (row,) = (row for row in table.rows if row[:2] == where)
    assert row[2:] == (*(str(rows["collapsed"].sum()) for rows in made), "GPT-J: 85")
    assert [each.name for each in section.drawings] == ["published-pilot", "published-single"]


def test_a_report_without_the_papers_loads_none_of_their_room() -> None:
    code = (
        "import sys, editcore.report.sections, editcore.report.page.page;"
        "sys.exit(any(name.startswith('editcore.report.papers') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ours_are_in_the_rows_of_the_published(study: ReportData, with_papers: StudyConfig) -> None:
    named = replace(study, config=with_papers)
    table = compared(named, "hard-cases")
    assert table is not None
    assert table.heads[1:3] == ("ours: small", "ours: large")
    for place, model in enumerate(study.models, 1):
        made = study.made(model=model, editor="alpha", dataset="hard")
        counts = f"{len(made):,}", f"{made['collapsed'].sum():,}"
        assert tuple(row[place] for row in table.rows) == counts
    single = compared(named, "single")
    assert single is not None
    assert [row[0] for row in single.rows] == [row[0] for row in published("single").rows]
    assert {row[3:] for row in single.rows} <= {row[1:] for row in published("single").rows}


def test_a_study_of_other_editors_is_compared_with_nothing(study: ReportData) -> None:
    assert comparison.section(study) is None


def test_digitised_points_agree_with_the_tables() -> None:
    above = [height for _, height in curves("pilot")["points"] if height > 1000]
    rows = {row[0]: row[1] for row in published("pilot").rows}
    assert str(len(above)) == rows["of them collapsed the model"]
    greatest = float(rows["collapsed: greatest"].removeprefix("≈ ").replace(",", ""))
    assert max(above) == pytest.approx(greatest, rel=0.01)
    sequences = curves("sequences")["perplexity"]
    counts = {
        len(some)
        for of in sequences.values()
        for sequence in of.values()
        for some in sequence.values()
    }
    assert counts == {54}


def test_the_published_figures_can_be_drawn() -> None:
    makers = (published_figures.pilot, published_figures.surrogate, published_figures.sequences)
    drawings = [each for make in makers for each in make()]
    with drawing():
        figures = {each.name: each.draw() for each in drawings}
    lines = figures["published-sequences"].axes[0].get_lines()
    assert len([line for line in lines if len(line.get_xdata()) == 54]) == 4  # type: ignore[arg-type]
    (scatter, *_) = figures["published-pilot"].axes[0].collections
    heights = [float(y) for _, y in scatter.get_offsets()]  # type: ignore[union-attr]
    assert len(heights) == 85
    assert all(math.isfinite(height) for height in heights)


def test_scores_of_sequences_are_compared_task_by_task(
    study: ReportData, with_papers: StudyConfig
) -> None:
    named = replace(study, config=with_papers)
    sequence = {"model": "small", "editor": "alpha", "dataset": "hard", "batch": 1, "order": 0}
    sequence["arrangement"] = "drawn"
    rows = [
        {**sequence, "step": 0, "perplexity": 2.0, "score_world_cloze": 0.75},
        {**sequence, "step": 9, "perplexity": 512.0, "score_world_cloze": 0.125},
    ]

    class Scored(ReportData):
        def table(self, name: str, schema: pa.Schema) -> pl.DataFrame | None:
            return pl.DataFrame(rows) if name == "sequences" else None

    table = compared(Scored(**vars(named)), "after-sequence")
    assert table is not None
    assert table.heads[3:] == ("ours: small", "published: Llama2-7b")
    cells = {row[:3]: row[3] for row in table.rows}
    subject = content()["subject"]
    assert cells[subject, "hard", "perplexity"] == "512"
    assert cells["none", "", "LAMBADA"] == "0.7500"
    assert cells[subject, "hard", "LAMBADA"] == "0.1250"
    assert len(table.rows) == 4
