"""Editors ranked against each other, and their sequences as bars of grades."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from matplotlib.colors import to_hex

from editcore.config.study import parse
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing, marks
from editcore.report.sections import arena
from editcore.report.sections.sequences import grades
from editcore.report.sections.sequences import section as sequences
from refresh.arena import FIGURE, LONG, PAGE, RANKED, write
from tests.report.conftest import MakeStudy
from tests.report.test_sequences import sequence
from tests.rows import BASE, DAMAGED, edit_row, failed_row

Sequences = list[dict[str, Any]]


@pytest.fixture
def three(make_study: MakeStudy) -> ReportData:
    """`safe` takes rarely and harms nothing, `bold` takes always and harms half, `poor` is worse.

    A fourth editor, `spare`, has the same outcomes as `safe`.
    """
    rows = []
    for case in range(4):
        rows += [
            edit_row(case, editor="poor", took=case < 1, top1_kept=DAMAGED),
            edit_row(case, editor="safe", took=case < 1, change_bytes=100 + case),
            edit_row(case, editor="bold", took=True, perplexity=BASE * (100 if case < 2 else 1.01)),
            edit_row(case, editor="spare", took=case < 1),
        ]
    return make_study(rows)


def test_editors_are_ranked_by_their_usable_edits(three: ReportData) -> None:
    standings = arena.ranked(three, "small")
    assert [(one.editor, one.usable) for one in standings] == [
        ("bold", 0.5), ("safe", 0.25), ("spare", 0.25), ("poor", 0.0),
    ]  # fmt: skip
    bold, safe, _, poor = standings
    assert (bold.took, bold.harmed, bold.collapsed) == (1.0, 0.5, 0.5)
    assert (poor.harmed, poor.collapsed) == (1.0, 0.0)
    assert (safe.size, safe.memory, safe.seconds) == (101.5, 1.25e9, 0.125)


def test_the_page_has_the_rankings_and_the_long_sequences(
    three: ReportData, make_study: MakeStudy, tmp_path: Path
) -> None:
    (tmp_path / PAGE).parent.mkdir()
    marked = [f"{start}\nstale\n{end}" for start, end in (RANKED, LONG)]
    (tmp_path / PAGE).write_text("\n".join(["before", *marked, "after"]), encoding="utf-8")
    long = make_study([edit_row(1)])
    rows = sequence("alpha", [BASE] * 41)
    write_table(long.folder / "sequences.parquet", rows, SEQUENCES_JUDGED, {})
    assert write(three, long, tmp_path) == [tmp_path / PAGE, tmp_path / FIGURE]
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    first, second = text.split(LONG[0])
    assert "| small | 1 | bold | 4 | 0 | 0.50 " in first
    assert "| small | alpha | hard | 1 | 1 | 40 |" in second
    assert "stale" not in text
    assert (tmp_path / FIGURE).stat().st_size > 1000


def test_failed_edits_are_not_usable_and_unmeasured_editors_are_not_ranked(
    make_study: MakeStudy,
) -> None:
    rows = [
        edit_row(1, editor="alpha"),
        failed_row(2, editor="alpha"),
        failed_row(3, editor="beta"),
    ]
    (alpha,) = arena.ranked(make_study([*rows, edit_row(4, editor="gamma", took=None)]), "small")
    assert (alpha.editor, alpha.edits, alpha.failed, alpha.usable, alpha.took) == (
        "alpha", 2, 1, 0.5, 1.0,
    )  # fmt: skip


def test_the_time_of_an_edit_is_a_mean(make_study: MakeStudy) -> None:
    rows = [edit_row(n, editor="alpha", seconds_editing=9.0 if n == 0 else 0.0) for n in range(3)]
    (alpha,) = arena.ranked(make_study(rows), "small")
    assert alpha.seconds == 3.0


def test_the_line_has_the_editors_that_none_beats(three: ReportData) -> None:
    standings = arena.ranked(three, "small")
    assert [one.editor for one in arena.unbeaten(standings)] == ["bold", "safe", "spare"]
    with drawing():
        figure = arena.draw({"small": standings}, marks(three.editors))
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.texts] == [
        f"{rank} {one.editor}" for rank, one in enumerate(standings, 1)
    ]
    shown = [to_hex(handle.get_facecolor()[0]) for handle in legend.legend_handles]
    assert shown == [marks(three.editors)[one.editor].colour for one in standings]
    assert [one.editor for one in standings] != [*three.editors]
    (line,) = axes.lines
    assert sorted(zip(*line.get_data(), strict=True)) == [(0.0, 0.25), (0.0, 0.25), (0.5, 1.0)]
    assert sorted(text.get_text() for text in axes.texts) == ["1", "2, 3", "4"]


def test_the_table_shows_when_sequences_collapsed(three: ReportData) -> None:
    rows: Sequences = sequence("bold", [4.0, 5.0, 80.0]) + sequence("safe", [4.0, 4.0, 4.0, 4.1])
    write_table(three.folder / "sequences.parquet", rows, SEQUENCES_JUDGED, {})
    config = parse(three.config.model_dump(mode="json") | {"sequences": {}}, "test")
    section = arena.section(replace(three, config=config))
    assert section is not None
    (table,) = section.tables
    shown = {row[2]: row[-1] for row in table.rows}
    assert shown == {"bold": "2", "safe": "3+", "spare": "–", "poor": "–"}
    assert table.heads[-1] == "sequence, 1 per step"


def test_the_point_names_the_best_editors_of_each_model_equals_together(
    three: ReportData,
) -> None:
    standings = arena.ranked(three, "small")
    start = "The editors with the largest share of edits that took and left the model sound: "
    assert arena.point({"small": standings}) == f"{start}bold on small (50 %)."
    rest = {"small": standings[1:], "large": standings[3:]}
    assert arena.point(rest) == f"{start}safe and spare on small (25 %) and poor on large (0 %)."


def test_two_editors_are_not_ranked(study: ReportData) -> None:
    assert arena.section(study) is None


def test_a_report_says_which_half_of_the_facts_it_shows(three: ReportData) -> None:
    raw = three.config.model_dump(mode="json")
    raw["datasets"] = {"hard": {"path": "hard.json", "split": "reported"}}
    whole, half = (
        arena.section(each) for each in (three, replace(three, config=parse(raw, "test")))
    )
    assert whole is not None and half is not None
    assert "`tuning`" not in " ".join(whole.paragraphs)
    assert "`tuning`" in half.paragraphs[-1]


def test_grades_of_a_sequence_are_stretches_up_to_each_measurement() -> None:
    table = pl_rows(sequence("alpha", [4.0, None, 4.1, 6.0, 90.0]))
    assert grades.segments(table) == [
        (0, 2, "sound"), (2, 3, "damaged"), (3, 4, "collapsed"),
    ]  # fmt: skip
    both = pl_rows(sequence("alpha", [4.0, 4.1, 4.1]) + sequence("alpha", [4.0, 4.1, 6.0], order=1))
    assert grades.segments(both) == [(0, 1, "sound"), (1, 2, "damaged")]


def test_many_editors_are_bars_and_the_one_that_lasts_longest_is_first(
    study: ReportData, tmp_path: Any
) -> None:
    ends = {f"e{n}": [4.0] + [4.1] * n + [90.0] for n in range(8)}
    rows = [row for editor, heights in ends.items() for row in sequence(editor, heights)]
    write_table(tmp_path / "sequences.parquet", rows, SEQUENCES_JUDGED, {})
    section = sequences.section(replace(study, folder=tmp_path))
    assert section is not None
    with drawing():
        (axes,) = section.drawings[0].draw().axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == [f"e{n}" for n in reversed(range(8))]


def pl_rows(rows: Sequences) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)
