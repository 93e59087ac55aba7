"""The page agrees with the rows, needs no other file, and no row can break its markup."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from editcore.config.collapse import CollapseSection
from editcore.config.study import StudyConfig
from editcore.errors import DataError
from editcore.numbers import in_percent
from editcore.records.metric_columns import FREE_COLUMNS
from editcore.records.model_schemas import ROUNDING
from editcore.records.schemas import VERDICTS
from editcore.records.tables import write_table
from editcore.report import tables, write_report
from editcore.report.data import ReportData, read
from editcore.report.drawing.figures import draw_sections
from editcore.report.drawing.style import panel
from editcore.report.page import cases, edits, page
from editcore.report.page.first_screen import first_screen
from editcore.report.page.inline import inline
from editcore.report.page.terms import TERMS, Explainer
from editcore.report.section import Drawing, PageSection, Part
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


def render(study: ReportData, folder: Path, *sections: PageSection) -> Checker:
    first = first_screen(study, sections)
    drawn = draw_sections([first, *sections], folder / "figures")
    page.write(folder / "report.html", study, first, sections, drawn)
    return checked(folder / "report.html")


@pytest.fixture(scope="module")
def whole(report: Path) -> Checker:
    """The page of the whole synthetic study, with and without the papers."""
    return checked(report)


def test_page_refers_to_nothing_outside_and_ids_are_unique(whole: Checker) -> None:
    assert {r for r in whole.references if not r.startswith("#")} == set()
    assert len(whole.ids) == len(set(whole.ids))
    # The explorer reads links to cases.
    assert {r[1:] for r in whole.references if not r.startswith("#cases:")} <= set(whole.ids)


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
    # The menu, the data, the chart library and the other scripts; in the data, `<` is escaped.
    assert page_text.count("<script") == page_text.count("</script") == 4
    assert "\\u003cscript>alert(1)" in page_text


def test_study_in_which_every_edit_failed_has_a_page(make_study: MakeStudy, tmp_path: Path) -> None:
    words = render(make_study([failed_row(1), failed_row(2)]), tmp_path).words
    assert "2 edits failed (target too long: 2)." in words
    assert "No edit could be made." in words


def test_page_of_a_study_without_collapse_names_none(make_study: MakeStudy, tmp_path: Path) -> None:
    words = render(make_study([edit_row(1), edit_row(2, denominator=None)]), tmp_path).words
    assert "The collapsed cases, with the rise of perplexity None." in words
    assert "likeliest next token changed None." in words


def test_many_collapsed_cases_are_cut_and_counted(make_study: MakeStudy) -> None:
    study = make_study([edit_row(i, 1000.0 + i) for i in range(cases.MOST_NAMES + 5)])
    (group,) = cases.collapsed(study)
    assert len(group.names) == cases.MOST_NAMES and group.omitted == 5
    assert group.names[0].startswith(f"Word{cases.MOST_NAMES + 4} ")


def test_verdicts_by_perplexity_draw_that_threshold(make_study: MakeStudy) -> None:
    study = make_study([edit_row(1)])
    absolute = replace(study, collapse=CollapseSection(verdict="perplexity"))
    assert (study.threshold(4.0), absolute.threshold(4.0)) == (40.0, 1000.0)


def test_worst_cases_are_in_order_over_all_groups(study: ReportData) -> None:
    worst = cases.worst_cases(study)
    ratios = worst["perplexity_ratio"].to_list()
    assert len(ratios) == 10
    assert ratios == sorted(study.made()["perplexity_ratio"], reverse=True)[:10]


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
    rows = tables.harm_table(study).rows
    assert [row[:3] for row in rows[:3]] == [
        ("small", "alpha", "hard"),
        ("small", "alpha", "normal"),
        ("small", "beta", "hard"),
    ]


def test_foreign_metrics_follow_the_metrics_that_were_measured(make_study: MakeStudy) -> None:
    heads = tables.metric_table(make_study([edit_row(1)])).heads
    table = tables.metric_table(make_study([edit_row(1, fluency=0.25)]))
    assert table.heads == (*heads, "fluency") and table.rows[0][-1] == "0.250"
    asked = edit_row(1, **dict.fromkeys(FREE_COLUMNS))
    assert len(tables.metric_table(make_study([asked])).heads) == len(heads) - len(FREE_COLUMNS)


def test_perplexities_have_no_columns_of_denominators_that_no_edit_has(
    make_study: MakeStudy,
) -> None:
    table = tables.harm_table(make_study([edit_row(1, 400.0, 0.5), edit_row(2, 4.0, 2.0)]))
    assert table.rows == (
        ("small", "alpha", "hard", "2", "×50.5", "×100", "0", "1.25", "0.500", "2", "12"),
    )
    assert len(tables.harm_table(make_study([edit_row(1, denominator=None)])).heads) == 7


def test_probes_of_depth_get_a_section_of_their_own(
    make_study: MakeStudy, study: ReportData
) -> None:
    assert depth.section(study) is None
    hops = {"portability": 0.5, "portability_base": 0.25, "multi_hop": None, "reversed": None}
    rows = [edit_row(1, **hops), edit_row(2, **hops | {"multi_hop": 1.0})]
    probed = make_study(rows)
    assert not [head for head in tables.metric_table(probed).heads if "hop" in head]
    section = depth.section(probed)
    assert section is not None
    (table,) = section.tables
    assert table.heads[3:] == ("edits", "portability", "unedited", "several steps", "reversed")
    assert table.rows[0][3:] == ("2", "0.50", "0.25", "1.00 (1)", "–")
    assert "In brackets" in table.caption
    assert section.point == (
        "Of the answers that follow from an edited fact, models predict a share of 0.50 of the "
        "tokens (unedited: 0.25)."
    )


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


def test_a_section_shows_its_point_and_first_figure_and_folds_the_rest(
    study: ReportData, tmp_path: Path
) -> None:
    table = Table("Points as in Yang et al. (2024). Two.", ("model", "n"), (("small", "2"),), 1)
    dots, more = (
        Drawing(name, f"Two {name}.", lambda: panel("Dots", "x", "y")[0])
        for name in ("dots", "more-dots")
    )
    extra = PageSection(
        "more",
        "More of it",
        ("In words.",),
        (dots, more),
        (table,),
        point="It is two.",
        part=Part.TASKS,
    )
    render(study, tmp_path, extra)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = text[text.index('<section aria-labelledby="more">') :]
    section = section[: section.index("</section>")]
    seen, folded = section.split("<details>")
    for part in ('<h3 id="more">More of it<', "It is two.", 'aria-label="Two dots."'):
        assert part in seen
    for part in ("In words.", "<table>", 'aria-label="Two more-dots."'):
        assert part in folded and part not in seen
    assert "<summary>1 table and 1 figure: Points as in Yang et al. (2024)</summary>" in folded
    assert (tmp_path / "figures" / "dots.svg").exists()
    heads = re.findall(r'<h2 id="([\w-]+)">', text)
    assert heads == ["explore", "part-edits", "part-tasks", "part-run"], (
        "parts in order, none empty"
    )


def test_the_sections_on_single_edits_have_their_points(make_study: MakeStudy) -> None:
    rows = [edit_row(1, 8.0), edit_row(2, 4.0), edit_row(3, math.inf)]
    perplexity, metrics = edits.sections(make_study(rows))
    assert perplexity.point == (
        "The worst edit, of “Word3” by alpha on small, hard, left the model without finite "
        "probabilities."
    )
    highest = "Mean efficacy, bare or after a prefix, is highest with"
    assert metrics.point == f"{highest} alpha on small, hard (0.50)."
    other = edit_row(1, editor="beta", efficacy=0.25, efficacy_prefixed=0.25)
    _, metrics = edits.sections(make_study([*rows, other]))
    assert metrics.point.endswith("(0.50) and lowest with beta on small, hard (0.25).")
    (failed,) = edits.sections(make_study([failed_row(1)]))
    assert failed.point == ""
    assert failed.tables[-1].rows == (("small", "alpha", "hard", "target too long", "1"),)


def test_a_term_is_explained_once_as_the_glossary_begins_to() -> None:
    root = Path(__file__).parents[2]
    lines = (root / "docs" / "glossary.md").read_text(encoding="utf-8").replace("\\", "")
    rows = [line.split(" | ") for line in lines.splitlines() if line.startswith("| ")]
    meanings = {name: row[1] for row in rows for name in row[0].removeprefix("| ").split(", ")}
    for term in TERMS:
        assert meanings[term.name].startswith(term.meaning), term.name
    explainer = Explainer()
    text = str(explainer.explained("It collapsed; perplexity rose, and rome-C collapses C."))
    opened = re.findall(r'popovertarget="term-(\w+)">(.*?)<', text)
    assert opened == [("collapse", "collapsed"), ("perplexity", "perplexity"), ("c", "C")]
    assert explainer.explained("perplexity") == "perplexity"


def test_a_summary_without_verdicts_is_refused(
    summary_dir: Path, config: StudyConfig, tmp_path: Path
) -> None:
    (tmp_path / "cases.parquet").write_bytes((summary_dir / "cases.parquet").read_bytes())
    write_table(tmp_path / "verdicts.parquet", [], VERDICTS, {})
    with pytest.raises(DataError, match="has no rows"):
        read(tmp_path, config)
