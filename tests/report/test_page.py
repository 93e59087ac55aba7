"""The page agrees with the rows, needs no other file, and no row can break its markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from editcore.config.collapse import CollapseSection
from editcore.config.study import StudyConfig
from editcore.errors import DataError
from editcore.numbers import in_percent
from editcore.records.model_schemas import ROUNDING
from editcore.records.schemas import VERDICTS
from editcore.records.tables import write_table
from editcore.report import tables, write_report
from editcore.report.data import ReportData, read
from editcore.report.drawing.figures import draw_all, draw_sections
from editcore.report.drawing.style import panel
from editcore.report.page import page, sentences
from editcore.report.page.inline import inline
from editcore.report.section import Drawing, PageSection
from editcore.report.sections import depth
from editcore.report.tables import Table
from tests.report.conftest import MakeStudy
from tests.rows import DAMAGED, edit_row, failed_row

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Checker(HTMLParser):
    """Collects ids, text and references, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if identifier := given.get("id"):
            self.ids.append(identifier)
        self.references += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def checked(path: Path) -> Checker:
    checker = Checker()
    checker.feed(path.read_text(encoding="utf-8"))
    assert checker.open == []
    return checker


def render(study: ReportData, folder: Path) -> Checker:
    page.write(folder / "report.html", study, draw_all(study, folder / "figures"))
    return checked(folder / "report.html")


@pytest.fixture(scope="module")
def whole(report: Path) -> Checker:
    """The page of the whole synthetic study, with and without the papers."""
    return checked(report)


def test_page_refers_to_nothing_outside_and_ids_are_unique(whole: Checker) -> None:
    assert {r for r in whole.references if not r.startswith("#")} == set()
    assert len(whole.ids) == len(set(whole.ids))
    assert {r[1:] for r in whole.references} <= set(whole.ids)


def test_page_describes_what_each_editor_did(whole: Checker) -> None:
    small = "alpha collapsed small with 10 of 20 hard cases and 0 of 30 normal cases"
    assert f"{small}, and damaged it with 5 hard cases and 0 normal cases." in whole.words
    large = "beta collapsed large with 0 of 20 hard cases and 0 of 30 normal cases"
    assert f"{large}, and damaged it with 0 hard cases and 0 normal cases." in whole.words
    assert "1 edit failed (target too long: 1)." in whole.words


def test_page_names_every_collapsed_case(whole: Checker, study: ReportData) -> None:
    for subject in study.made(model="small", collapsed=True)["subject"]:
        assert f" {subject} ×" in whole.words
    assert "alpha on small, hard: 10 cases of 20" in whole.words


def test_page_names_every_damaged_case_with_its_share_of_changed_tokens(
    whole: Checker, study: ReportData
) -> None:
    for subject in study.made(model="small", grade="damaged")["subject"]:
        assert f" {subject} {in_percent(1 - DAMAGED)}" in whole.words
    assert "alpha on small, hard: 5 cases of 20" in whole.words


def test_page_describes_the_worst_cases(whole: Checker) -> None:
    assert "Word4 is made by Elro → Osdor" in whole.words
    assert "before, ∞ after (×∞)" in whole.words
    assert "The subject opens the prompt and is 1 token long." in whole.words
    assert "before Word4 is made by Elro. The sea is quiet" in whole.words
    assert "after Word4 is made by nothing: its probabilities are not finite" in whole.words


def test_page_lists_what_was_run(whole: Checker) -> None:
    for words in ("tiny", "hard.json", "editcore-alpha 0.3", "layer 2", "torch 2.13", "mixed"):
        assert words in whole.words
    assert "perplexity above 10 times the unedited perplexity" in whole.words


def test_text_of_rows_cannot_become_markup(make_study: MakeStudy, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    case = {"subject": evil, "target_new": evil, "prompt": "{} & <b>", "continuation": evil}
    row = edit_row(1, 4000.0, 0.1, **case)
    checker = render(make_study([row, failed_row(2, status=evil)]), tmp_path)
    assert evil in checker.words
    page_text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page_text
    # Its data, the chart library and its own script; in the data, the row's `<` is escaped.
    assert page_text.count("<script") == page_text.count("</script") == 3
    assert "\\u003cscript>alert(1)" in page_text


def test_study_in_which_every_edit_failed_has_a_page(make_study: MakeStudy, tmp_path: Path) -> None:
    words = render(make_study([failed_row(1), failed_row(2)]), tmp_path).words
    assert "2 edits failed (target too long: 2)." in words
    assert "No edit could be made." in words


def test_page_of_a_study_without_collapse_names_none(make_study: MakeStudy, tmp_path: Path) -> None:
    words = render(make_study([edit_row(1), edit_row(2, denominator=None)]), tmp_path).words
    assert "The collapsed cases None." in words
    assert "is the likeliest. None." in words


def test_many_collapsed_cases_are_cut_and_counted(make_study: MakeStudy) -> None:
    study = make_study([edit_row(i, 1000.0 + i) for i in range(page.MOST_NAMES + 5)])
    (group,) = page.collapsed(study)
    assert len(group.names) == page.MOST_NAMES and group.omitted == 5
    assert group.names[0].startswith(f"Word{page.MOST_NAMES + 4} ")


def test_verdicts_by_perplexity_draw_that_threshold(make_study: MakeStudy) -> None:
    study = make_study([edit_row(1)])
    absolute = replace(study, collapse=CollapseSection(verdict="perplexity"))
    assert (study.threshold(4.0), absolute.threshold(4.0)) == (40.0, 1000.0)


def test_worst_cases_are_in_order_over_all_groups(study: ReportData) -> None:
    worst = sentences.worst_cases(study)
    ratios = worst["perplexity_ratio"].to_list()
    assert len(ratios) == 10
    assert ratios == sorted(study.made()["perplexity_ratio"], reverse=True)[:10]


def test_cause_compares_denominators_of_the_two_outcomes(make_study: MakeStudy) -> None:
    rows = [edit_row(1, 400.0, 0.01), edit_row(2, 400.0, 0.03), edit_row(3, 4.0, 2.0)]
    said = sentences.cause(make_study(rows), "small", "alpha")
    assert said == "The median |denominator| was 0.0200 for collapsed edits and 2 for the others."


def test_damage_is_shown_beside_the_scale_of_rounding(study: ReportData, tmp_path: Path) -> None:
    assert tables.rounding_table(study) is None
    about = {"model": "small", "status": "ok", "perplexity_ratio": 1.5, "top1_kept": 0.75}
    moved = ((8, 0.001), (4, 0.25))
    rows = [about | {"bits": bits, "kl_mean": kl, "kl_upper": 2 * kl} for bits, kl in moved]
    rows[1]["rounded_as"] = "GGUF Q4_0"  # the first is as in an older table
    rows += [{"model": "large", "bits": bits, "status": "quantised"} for bits, _ in moved]
    write_table(tmp_path / "rounding.parquet", rows, ROUNDING, {})
    table = tables.rounding_table(replace(study, folder=tmp_path))
    assert table is not None
    assert [row[:3] for row in table.rows] == [
        ("small", "rounded to 4 bits (GGUF Q4_0)", "–"),
        ("small", "rounded to 8 bits", "–"),
        ("small", "damaged by an edit", "5"),
        ("small", "collapsed by an edit", "10"),
        ("large", "damaged by an edit", "5"),
        ("large", "collapsed by an edit", "10"),
    ]
    assert table.rows[0][3:] == ("0.250", "0.500", "0.75", "×1.50")
    assert table.rows[2][3:5] == ("0.0100", "0.100")


def test_tables_keep_the_order_of_the_config(study: ReportData) -> None:
    rows = tables.verdict_table(study).rows
    assert [row[:3] for row in rows[:3]] == [
        ("small", "alpha", "hard"),
        ("small", "alpha", "normal"),
        ("small", "beta", "hard"),
    ]


def test_foreign_metrics_get_a_table(make_study: MakeStudy) -> None:
    table = tables.extra_table(make_study([edit_row(1, fluency=0.25)]))
    assert table is not None
    assert table.heads[3:] == ("fluency",) and table.rows[0][3:] == ("0.250",)
    assert tables.extra_table(make_study([edit_row(1)])) is None


def test_probes_of_depth_get_a_section_of_their_own(
    make_study: MakeStudy, study: ReportData
) -> None:
    assert depth.section(study) is None
    hops = {"portability": 0.5, "portability_base": 0.25, "multi_hop": None, "reversed": None}
    rows = [edit_row(1, **hops), edit_row(2, **hops | {"multi_hop": 1.0})]
    probed = make_study(rows)
    assert tables.extra_table(probed) is None
    section = depth.section(probed)
    assert section is not None
    (table,) = section.tables
    assert table.heads[3:] == ("edits", "portability", "unedited", "several steps", "reversed")
    assert table.rows[0][3:] == ("2", "0.50", "0.25", "1.00 (1)", "–")
    assert "In brackets" in table.caption


def test_inlined_figures_have_names_of_their_own_and_the_colours_of_the_page() -> None:
    svg = (
        '<?xml?><svg width="1pt" viewBox="0 0 1 1"><g id="a" fill="#22252b"/><use href="#a"/></svg>'
    )
    found = inline(svg, "f1", 'say "so"')
    assert 'id="f1-a"' in found and 'href="#f1-a"' in found
    assert "var(--ink)" in found and "width=" not in found
    assert 'aria-label="say &quot;so&quot;"' in found


def test_summary_that_is_missing_is_named(tmp_path: Path, config: StudyConfig) -> None:
    with pytest.raises(DataError, match=r"cases\.parquet: no such file"):
        write_report(tmp_path, tmp_path / "figures", tmp_path / "report.html", config)


def test_further_sections_have_their_text_figures_and_tables(
    study: ReportData, tmp_path: Path
) -> None:
    table = Table("Points.", ("model", "n"), (("small", "2"),), 1)
    drawing = Drawing("dots", "Two dots.", lambda: panel("Dots", "x", "y")[0])
    extra = PageSection("more", "More of it", ("In words.",), (drawing,), (table,))
    drawn = draw_sections([extra], tmp_path / "figures")
    page.write(tmp_path / "r.html", study, {}, [extra], drawn)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    for part in ('<h2 id="more">More of it<', "In words.", "Points.", 'aria-label="Two dots."'):
        assert part in text
    assert (tmp_path / "figures" / "dots.svg").exists()


def test_the_comparison_puts_editors_side_by_side(study: ReportData, whole: Checker) -> None:
    table = tables.comparison_table(study)
    assert [row[:3] for row in table.rows[:3]] == [
        ("small", "hard", "alpha"),
        ("small", "hard", "beta"),
        ("small", "normal", "alpha"),
    ]
    alpha = study.groups()[0]
    assert table.rows[0][4:7] == ("0.50", "0.50", "0.50")
    assert table.rows[0][7:] == (tables.times(alpha["ratio_median"]), "×∞", "25 %", "50 %")
    assert whole.words.index("Comparison of the editors") < whole.words.index("Perplexity of every")


def test_long_tables_are_folded_and_short_ones_are_not(
    make_study: MakeStudy, tmp_path: Path
) -> None:
    short = tmp_path / "short"
    render(make_study([edit_row(1)]), short)
    assert "<details>" not in (short / "report.html").read_text()
    rows = [edit_row(1, editor=f"editor-{n}") for n in range(page.MOST_ROWS + 1)]
    render(make_study(rows), tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert text.count("<details>") == 4, "verdicts, denominators and two of metrics"
    assert 'class="figures many"' in text
    assert text.index("Comparison of the editors") < text.index("<details>")


def test_many_editors_share_one_paragraph_of_the_summary(make_study: MakeStudy) -> None:
    names = [f"editor-{n}" for n in range(sentences.MANY + 1)]
    rows = [edit_row(1, 400.0 if name == names[3] else 4.1, editor=name) for name in names]
    (said,) = sentences.findings(make_study(rows))
    assert said.startswith(f"small collapsed with edits by {names[3]} (1 of 1).")
    assert said.endswith(f"and {names[-1]} did either.")
    assert "worst edit" not in said
    few = [row for row in rows if row["editor"] != names[0]]
    assert len(sentences.findings(make_study(few))) == sentences.MANY


def test_the_summary_begins_with_a_note_on_models_measured_on_the_invented_world(
    study: ReportData,
) -> None:
    raw = study.config.model_dump(mode="json")
    assert not sentences.findings(study)[0].startswith("note")
    raw["perplexity"]["path"] = "resources/world/perplexity.json"
    noted = sentences.findings(replace(study, config=StudyConfig.model_validate(raw)))
    assert [line.split(" is not a bundled")[0] for line in noted[:2]] == [
        "note: small",
        "note: large",
    ]
    assert noted[2:] == sentences.findings(study)


def test_a_summary_without_verdicts_is_refused(
    summary_dir: Path, config: StudyConfig, tmp_path: Path
) -> None:
    (tmp_path / "cases.parquet").write_bytes((summary_dir / "cases.parquet").read_bytes())
    write_table(tmp_path / "verdicts.parquet", [], VERDICTS, {})
    with pytest.raises(DataError, match="has no rows"):
        read(tmp_path, config)
