"""Each section's point is true for any study: nothing harmed, one model, or no numbers."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from editcore.report.data import ReportData
from editcore.report.drawing.style import drawing
from editcore.report.sections import keys, layers, prompting, sections, updates, warning
from editcore.report.sections.sequences.lasted import lasted
from tests.report.conftest import MakeStudy
from tests.report.test_sequences import sequence
from tests.rows import DAMAGED, edit_row, failed_row

Rows = list[dict[str, Any]]


def table(names: str, *rows: Iterable[Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=names.split(), orient="row", infer_schema_length=None)


@pytest.mark.parametrize(
    "rows",
    [
        [edit_row(1)],
        [edit_row(1, math.inf), failed_row(2)],
        [edit_row(1, denominator=None, delta_norm=None, subject_start=None, top1_kept=None)],
        [edit_row(1, top1_kept=DAMAGED, editor=f"editor-{n}") for n in range(12)],
        [failed_row(1)],
    ],
    ids=["sound", "infinite", "nothing known", "many editors", "failed"],
)
def test_every_section_has_a_point_of_one_sentence(make_study: MakeStudy, rows: Rows) -> None:
    study = make_study(rows)
    for section in sections(study):
        assert section.point.endswith(".") and not section.point.endswith(".."), section.anchor
        assert section.point[0].isupper() or section.point[0].isdigit(), section.point
        assert "None of" in section.point or "None" not in section.point, section.point
        assert "nan" not in section.point, section.point


def test_sequences_are_told_by_the_first_that_collapsed(study: ReportData) -> None:
    rows = sequence("alpha", [4.0, 5.0, 80.0]) + sequence("beta", [4.0, 4.0, 4.0, 6.0])
    rows += [row | {"dataset": "normal"} for row in sequence("alpha", [4.0, 4.0, 4.4])]
    said = lasted(study, pl.DataFrame(rows, infer_schema_length=None))
    assert said == (
        "Edited in sequence, small collapsed after 2 edits by alpha (1 of 2 sequences), not within "
        "3 by beta (×1.50)."
    )


def test_sequences_of_many_models_and_editors_are_counted(study: ReportData) -> None:
    rows = [
        row | {"model": f"model-{model}"}
        for model in range(5)
        for editor in range(6)
        for row in sequence(f"editor-{editor}", [4.0] * (editor + 1) + [math.inf])
    ]
    said = lasted(study, pl.DataFrame(rows, infer_schema_length=None))
    assert said.count("and 3 more editors") == 3
    assert said.endswith("; 2 more models in the table.")


def test_a_sequence_that_was_never_measured_has_no_ratio(study: ReportData) -> None:
    rows = pl.DataFrame(sequence("alpha", [None, None]), infer_schema_length=None)
    rows = rows.with_columns(
        pl.col("grade").cast(pl.String), pl.col("perplexity_ratio").cast(float)
    )
    said = lasted(study, rows)
    assert said == "Edited in sequence, small did not collapse within 1 edit by alpha."


WARNINGS = "calibrated_on tested_on editor predictor target auc"


def test_the_warning_is_judged_by_the_predictor_that_it_uses(study: ReportData) -> None:
    rows = (
        ("*", "small", "*", "sample_changed", "harmed", 0.5),
        ("small", "small", "*", "sample_changed", "harmed", 0.998),
        ("large", "large", "*", "sample_changed", "harmed", None),
        ("small", "small", "alpha", "sample_changed", "harmed", 0.1),
        ("small", "small", "*", "exposure", "harmed", 0.9),
        ("small", "small", "*", "sample_ratio", "collapsed", 0.7),
    )
    said = warning.point(study, table(WARNINGS, *rows))
    assert "harm a model" in said and "curve of 0.998 on small (1 is perfect" in said
    without = warning.point(study, table(WARNINGS, *rows[4:]))
    assert "harm a model" in without and warning.NAMES["exposure"] in without
    assert "collapse a model" in warning.point(study, table(WARNINGS, *rows[5:]))
    nothing = table(WARNINGS, *rows).filter(editor="alpha")
    assert warning.point(study, nothing).startswith("No quantity")


def test_roc_curves_of_all_models_and_targets_are_one_figure(study: ReportData) -> None:
    shown = [("small", "harmed"), ("large", "harmed"), ("small", "collapsed")]
    with drawing():
        panels = [axes for axes in warning.draw(study, shown).axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == [": ".join(each) for each in shown]
    curve = panels[0].lines[0]
    ends = [*zip(curve.get_xdata(), curve.get_ydata(), strict=True)]
    assert (ends[0], ends[-1]) == ((0, 0), (1, 1))


LAYERS = "model dataset layer denominator_share_median"


def test_the_quotient_is_that_of_the_edited_layer(study: ReportData) -> None:
    rows = (
        ("small", "hard", 2, 0.02), ("small", "normal", 2, 0.5), ("small", "hard", 3, 0.01),
        ("large", "hard", 2, None),
    )  # fmt: skip
    start = "An update with mixed keys has this share of the denominator that mean keys give it: "
    found = table(LAYERS, *rows)
    said = f"{start}0.0200 on hard and 0.500 on normal cases at layer 2 of small."
    assert layers.point(study, found) == said
    unknown = found.filter(layer=3)
    assert layers.point(study, unknown) == f"{start}0.0100 on hard cases at layer 3 of small."
    assert layers.point(study, found.filter(model="large")).startswith("No case")


UPDATES = "model cases strategy second_moment collapsed denominator"


def test_updates_with_mixed_keys_are_next_to_those_with_one_key(study: ReportData) -> None:
    rows = table(
        UPDATES,
        ("small", "collapse", "mixed", True, True, 0.01),
        ("small", "collapse", "mixed", True, False, 0.03),
        ("small", "collapse", "mixed", False, True, 9.0),
        ("small", "normal", "mixed", True, True, 9.0),
        ("small", "collapse", "prefixed", True, False, 2.0),
        ("large", "collapse", "mixed", True, True, 2.0),
    )
    assert updates.point(study, rows) == (
        "Edits of the same facts that collapse the model: 1 of 2 with mixed keys and 0 of 1 with "
        "one key on small (median |denominator| 0.0200 and 2)."
    )
    assert updates.point(study, rows.filter(model="large")).startswith("No update")


DISTANCES, MOVED = "model first second metric mean", "model length reference metric gap"


def test_the_gap_between_keys_is_an_energy_distance(study: ReportData) -> None:
    sets = ("collapse bare", "normal bare")
    pairs = ((sets[0], sets[0], 0.1), (*sets, 0.5), (sets[1], sets[1], 0.3))
    distances = table(DISTANCES, *((("small", a, b, "cosine", mean)) for a, b, mean in pairs))
    moved = table(
        MOVED,
        ("small", 0, "normal", "cosine", 0.6),
        ("small", 4, "normal", "cosine", 0.05),
        ("small", 1, "normal", "cosine", 0.2),
        ("small", 8, "normal", "mahalanobis", 9.0),
    )
    start = (
        "The gap (0 if alike) between the keys of collapse cases and the bare keys of normal ones"
    )
    said = keys.point(study, distances, moved)
    assert said == f"{start} is 0.600 on small (0.0500 after a prefix of 4 tokens)."
    assert keys.point(study, distances, moved.head(1)) == f"{start} is 0.600 on small."
    few = keys.point(study, distances.head(2), moved)
    assert few == "There are too few keys to compare those of collapse cases with normal ones."


PROMPTING = "model editor dataset prefixed metric share"


def test_the_largest_difference_that_a_prefix_makes_is_told() -> None:
    rows = table(
        PROMPTING,
        ("small", "alpha", "hard", "none", "efficacy", 0.05),
        ("small", "alpha", "hard", "rewrite", "efficacy", 0.95),
        ("small", "beta", "hard", "none", "efficacy", 0.9),
        ("small", "beta", "hard", "rewrite", "efficacy", 0.8),
        ("small", "alpha", "hard", "none", "locality", 0.0),
    )
    assert prompting.point(rows) == (
        "A prefix changes efficacy most for edits by alpha of small on hard cases: 5 % bare, 95 % "
        "after a prefix."
    )
    bare = rows.filter(prefixed="none")
    assert prompting.point(bare) == "No edit was tested both bare and after a prefix."


def test_clouds_and_gaps_of_all_models_are_panels(study: ReportData, tmp_path: Path) -> None:
    points = table(
        "model panel cloud x y explained_x explained_y",
        *(
            (model, panel, cloud, 0.1, 0.2, *shares)
            for model in ("small", "large")
            for panel, shares in (("keys", (0.5, 0.25)), ("first", (None, None)))
            for cloud in ("collapse bare", "normal bare")
        ),
    )
    moved = table(MOVED, *((m, 0, "normal", "cosine", 0.6) for m in ("small", "large")))
    depth = table("model part layer position gap", ("small", "decoder", 0, 0, 0.9))
    with drawing():
        clouds = keys.draw_clouds(study, points).axes
        gaps = keys.draw_gaps(study, moved, depth).axes
    assert [axes.get_title(loc="left") for axes in clouds] == [
        "small: mean keys", "small: first tokens", "large: mean keys", "large: first tokens",
    ]  # fmt: skip
    assert [axes.get_legend() is not None for axes in clouds] == [False, False, True, True]
    assert clouds[0].get_xlabel() == "50% of variance" and clouds[1].get_xlabel() == ""
    assert [len(axes.lines) for axes in gaps] == [2, 1, 2, 1]


def test_swapped_positions_are_rows_of_the_table_of_updates() -> None:
    grades = "grade numerator_norm perplexity perplexity_base"
    made = table(
        f"{UPDATES} {grades}",
        ("small", "collapse", "mixed", True, True, 0.01, "collapsed", 3.0, 400.0, 4.0),
        ("small", "collapse", "mixed", False, True, 0.5, "sound", 3.0, 4.1, 4.0),
    )
    positions = table(
        "model cases swapped denominator grade perplexity perplexity_base",
        ("small", "collapse", True, 2.0, "sound", 4.2, 4.0),
        ("small", "collapse", False, 0.01, "collapsed", 400.0, 4.0),
    )
    found = updates.by_keys(made, positions)
    shown = [(*row[1:3], *row[5:8], row[9]) for row in found.rows]
    assert shown == [
        ("mixed", "with", "0", "1", "3", "0.0100"),
        ("mixed", "without", "0", "0", "3", "0.500"),
        ("mixed, swapped", "with", "0", "0", "–", "2"),
    ]
