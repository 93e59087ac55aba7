"""The first screen: its sentences are true of every study, and its grid counts every edit."""

import math
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from editcore.config.study import StudyConfig
from editcore.report.data import ReportData
from editcore.report.drawing import cause
from editcore.report.page.first_screen import first_screen
from editcore.report.page.grid import grid
from editcore.report.page.headline import headline
from editcore.report.section import PageSection, Part
from tests.report.conftest import MakeStudy
from tests.rows import DAMAGED, edit_row, failed_row

Rows = list[dict[str, Any]]


def rows(editor: str, count: int = 6, *, bad: int = 0, **changes: Any) -> Rows:
    """Cases of an editor; the first `bad` ones collapse the model, with denominators of 0.02."""
    return [
        edit_row(case, 400.0 if case < bad else 4.1, 0.02 if case < bad else 2.0, editor=editor)
        | changes
        for case in range(count)
    ]


def test_a_collapse_has_its_reason_and_its_cure(make_study: MakeStudy) -> None:
    study = make_study([*rows("alpha", bad=3), *rows("beta")])
    assert headline(study) == (
        "alpha collapsed small in 3 of 6 hard cases: there, its update’s denominator is 100 times "
        "smaller than in its other edits. beta, which made the same edits with an efficacy of 0.50 "
        "or more, collapsed none."
    )


def test_data_sets_that_did_not_collapse_are_not_counted(study: ReportData) -> None:
    said = headline(study)
    assert said.startswith("alpha collapsed small in 10 of 20 hard cases and large in 10 of 20: ")
    assert "normal" not in said


@pytest.mark.parametrize(
    "changes",
    [
        {"efficacy": 0.0, "efficacy_prefixed": 0.1},
        {"top1_kept": DAMAGED},
        {"perplexity": 400.0, "perplexity_ratio": 100.0},
    ],
    ids=["does nothing", "damages", "collapses"],
)
def test_an_editor_that_does_nothing_or_harm_is_no_cure(
    make_study: MakeStudy, changes: dict[str, Any]
) -> None:
    said = headline(make_study([*rows("alpha", 8, bad=8), *rows("beta", 8, **changes)]))
    assert said.endswith("No other editor made the same edits take without harm.")


def test_an_editor_of_other_cases_is_not_compared(make_study: MakeStudy) -> None:
    said = headline(make_study([*rows("alpha", bad=3), *rows("beta", 5)]))
    assert said.endswith("than in its other edits.")


def test_efficacy_after_a_prefix_is_named(make_study: MakeStudy) -> None:
    after = {"efficacy": 0.0, "efficacy_prefixed": 1.0}
    said = headline(make_study([*rows("alpha", bad=3), *rows("beta", **after)]))
    assert "beta, which made the same edits with an efficacy of 1.00 after a prefix" in said


def test_without_denominators_or_a_difference_there_is_no_reason(make_study: MakeStudy) -> None:
    for changes in ({"denominator": None}, {"denominator": 2.0}):
        said = headline(make_study(rows("alpha", bad=3, **changes)))
        assert said == "alpha collapsed small in 3 of 6 hard cases."


def test_denominators_of_zero_are_named(make_study: MakeStudy) -> None:
    zero = [edit_row(n, math.inf, 0.0) for n in range(3)]
    said = headline(make_study([*zero, *(edit_row(n) for n in range(3, 6))]))
    assert said.endswith(": there, its update’s denominator is zero.")


def test_everything_collapsed(make_study: MakeStudy) -> None:
    normal = rows("alpha", bad=6, dataset="normal")
    study = make_study([*rows("alpha", bad=6), *normal, *rows("beta", bad=1)])
    assert headline(study) == ("alpha collapsed small in 12 of 12 cases, and beta in 1 of 6.")


def test_twenty_editors_and_six_models_stay_two_sentences(make_study: MakeStudy) -> None:
    many = [
        row
        for model in range(6)
        for editor in range(20)
        for row in rows(f"e{editor}", 2, bad=2 if editor < 5 else 0, model=f"m{model}")
    ]
    said = headline(make_study(many))
    assert said == (
        "e0 collapsed m0 in 2 of 2 hard cases, m1 in 2 of 2 and 4 other models in 8 of 8, and "
        "4 other editors in 48 of 48. 15 editors, which made the same edits with an efficacy of "
        "0.50 or more, collapsed none."
    )


def test_no_collapse_and_no_harm(make_study: MakeStudy) -> None:
    study = make_study([*rows("alpha"), *rows("beta")])
    assert headline(study) == "None of 12 edits by alpha and beta collapsed or damaged small."
    unknown = make_study(rows("alpha", top1_kept=None))
    assert headline(unknown) == "None of 6 edits by alpha collapsed small."
    damaged = headline(make_study(rows("alpha", top1_kept=DAMAGED)))
    assert damaged == "No edit collapsed a model, but alpha damaged small in 6 of 6 hard cases."


def test_without_a_collapse_the_sequences_follow(make_study: MakeStudy) -> None:
    study = make_study(rows("alpha"))
    sequences = PageSection("s", "S", point="alpha collapses it in 5 edits.", part=Part.STREAMS)
    assert first_screen(study, [sequences]).point.endswith("small. alpha collapses it in 5 edits.")
    collapsed = make_study(rows("alpha", bad=2))
    assert "in 5 edits" not in first_screen(collapsed, [sequences]).point


def test_failed_edits(make_study: MakeStudy) -> None:
    study = make_study([failed_row(1), failed_row(2)])
    assert headline(study) == "No edit could be made: 2 edits failed (target too long: 2)."
    ((_, (found,)),) = grid(study).rows
    assert found is not None
    assert (found.grade, found.words, found.shares) == (
        "failed",
        "all 2 failed",
        (("failed", 100),),
    )


def test_the_grid_counts_every_edit_and_leads_to_its_cases(study: ReportData) -> None:
    shown = grid(study)
    places = [(model, dataset) for model, datasets in shown.columns for dataset in datasets]
    groups = {(row["model"], row["editor"], row["dataset"]): row for row in study.groups()}
    seen = 0
    for editor, cells in shown.rows:
        for (model, dataset), cell in zip(places, cells, strict=True):
            row = groups.get((model, editor, dataset))
            assert (cell is None) == (row is None)
            if cell is None or row is None:
                continue
            seen += 1
            assert sum(share for _, share in cell.shares) == pytest.approx(100, abs=0.3)
            link = parse_qs(cell.link.removeprefix("cases:"))
            assert (link["model"], link["editor"], link["dataset"]) == (
                [model],
                [editor],
                [dataset],
            )
            made = study.made(model=model, editor=editor, dataset=dataset)
            for grade in link.get("grade", []):
                count = len(made.filter(grade=grade))
                assert count and re.match(rf"(all )?{count}( of {row['n']})? {grade}", cell.words)
    assert seen == len(groups)
    assert shown.grades[:2] == ("collapsed", "damaged")


def test_the_figure_shows_the_change_if_no_edit_has_a_denominator(make_study: MakeStudy) -> None:
    study = make_study(rows("alpha", bad=2))
    assert cause.quantity(study) == cause.QUANTITIES[0]
    changed = make_study(rows("alpha", bad=2, denominator=None))
    assert cause.quantity(changed) == cause.QUANTITIES[1]
    (drawing,) = first_screen(changed, []).drawings
    assert drawing.name == "cause-model=small" and "‖Δ‖ / ‖W‖" in drawing.words
    neither = make_study(rows("alpha", denominator=None, delta_norm=None))
    assert first_screen(neither, []).drawings == ()


def test_a_note_on_models_measured_on_the_invented_world_comes_first(study: ReportData) -> None:
    assert first_screen(study, []).paragraphs == ()
    raw = study.config.model_dump(mode="json")
    raw["perplexity"]["path"] = "resources/world/perplexity.json"
    noted = first_screen(replace(study, config=StudyConfig.model_validate(raw)), [])
    assert [line.split(" is not a bundled")[0] for line in noted.paragraphs] == [
        "note: small",
        "note: large",
    ]
