"""The numbers that editors report are summarised by model, editor and name."""

from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.sections import SECTIONS, diagnostics
from tests.report.conftest import MakeStudy
from tests.report.test_sequences import sequence
from tests.rows import edit_row, failed_row


def test_the_table_has_median_and_range_of_each_number(make_study: MakeStudy) -> None:
    told = (
        '{"gap": null, "rank.1": 8.0}',
        '{"gap": 0.5, "rank.1": 24.0}',
        '{"gap": null, "rank.1": 10.0}',
    )
    rows = [edit_row(case, editor="beta", diagnostics=text) for case, text in enumerate(told)]
    rows += [edit_row(7, editor="beta"), failed_row(8, editor="beta")]
    rows += [edit_row(0, editor="alpha", diagnostics='{"lost": null}')]
    section = diagnostics.section(make_study(rows))
    assert section is not None
    (table,) = section.tables
    assert table.rows == (
        ("small", "alpha", diagnostics.SINGLE, "lost", "0", "–", "–", "–"),
        ("small", "beta", diagnostics.SINGLE, "gap", "1", "0.500", "0.500", "0.500"),
        ("small", "beta", diagnostics.SINGLE, "rank.1", "3", "10", "8", "24"),
    )
    assert len(table.heads) == len(table.rows[0])


def test_steps_of_sequences_are_counted_apart(make_study: MakeStudy) -> None:
    study = make_study([edit_row(0, editor="alpha", diagnostics='{"loss": 2.0}')])
    steps = sequence("alpha", [4.0, 4.0, 4.0])
    for step, entries in ((1, 1.0), (2, 3.0)):
        steps[step]["diagnostics"] = f'{{"entries": {entries}}}'
    write_table(study.folder / "sequences.parquet", steps, SEQUENCES_JUDGED, {})
    section = diagnostics.section(study)
    assert section is not None
    assert section.tables[0].rows == (
        ("small", "alpha", diagnostics.SINGLE, "loss", "1", "2", "2", "2"),
        ("small", "alpha", diagnostics.SEQUENCE, "entries", "2", "2", "1", "3"),
    )


def test_a_study_whose_editors_report_nothing_has_no_such_section(study: ReportData) -> None:
    assert diagnostics.section(study) is None
    assert diagnostics.section in SECTIONS
