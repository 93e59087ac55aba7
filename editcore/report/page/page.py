"""The HTML page: a single file that needs no other."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from editcore.atomic import write_text
from editcore.collapse.verdict import COLLAPSED, DAMAGED
from editcore.numbers import in_percent, number, plural, times
from editcore.report import tables
from editcore.report.data import ReportData
from editcore.report.drawing.figures import KINDS
from editcore.report.page import explorer, overview, sentences
from editcore.report.page.inline import inline
from editcore.report.section import PageSection

MOST_NAMES = 200
HARMED = (("collapsed", "Collapsed"), ("damaged", "Damaged"))
# Longer tables are collapsed and more figures are placed closer together, for readability.
MOST_ROWS = 12
MOST_FIGURES = 4
# Shorter labels stay on one line; figures wider than this (in points) take the width of the page.
MOST_LETTERS = 22
MOST_POINTS_WIDE = 400
CAPTIONS = {
    "perplexity": "Perplexity of the model after each single edit, made from the original weights.",
    "denominator": "The rise of perplexity against the denominator of the update.",
}


@dataclass(frozen=True)
class FigureOnPage:
    """A figure as markup, and the file with the same figure."""

    svg: Markup
    file: str

    @property
    def wide(self) -> bool:
        """Whether it scrolls sideways on a phone, so that its text stays legible."""
        box = re.search(r'viewBox="\S+ \S+ ([\d.]+)', self.svg)
        return box is not None and float(box[1]) > MOST_POINTS_WIDE


@dataclass(frozen=True)
class HarmfulCases:
    """The collapsed or damaged cases of a group, worst first, and the number left out.

    Each is named by its subject, with the perplexity ratio or the share of changed predictions.
    """

    heading: str
    names: tuple[str, ...]
    omitted: int


def write(
    path: Path,
    study: ReportData,
    figures: Mapping[tuple[str, str, str], Path],
    sections: Sequence[PageSection] = (),
    drawn: Mapping[str, Path] = MappingProxyType({}),
) -> None:
    """Render the page and write it atomically; `drawn` are the files of the sections' figures."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        number=number,
        times=times,
        position=sentences.position,
        css=_part("page.css"),
        explore_css=_part("explore.css"),
        chart_js=_part("vendor/chart.umd.min.js"),
        licence=_part("vendor/LICENSE-chart.js.md"),
        explore_js=explorer.script(),
        cases_file=explorer.cases_file(study, path),
        infinite=math.inf,
        most_rows=MOST_ROWS,
        most_letters=MOST_LETTERS,
        most_figures=MOST_FIGURES,
    )
    shown = content(study, figures) | {"sections": [_shown(each, drawn) for each in sections]}
    shown["contents"] = contents(shown)
    write_text(path, environment.get_template("page.html.jinja").render(shown))


def content(study: ReportData, figures: Mapping[tuple[str, str, str], Path]) -> dict[str, Any]:
    """Everything that the template shows."""
    return {
        "findings": sentences.findings(study),
        "cases": explorer.data(study),
        "comparison": _present(tables.comparison_table(study)),
        "figures": [(CAPTIONS[kind], _figures(study, figures, kind)) for kind in KINDS],
        "verdicts": _present(
            tables.verdict_table(study), tables.rounding_table(study), tables.failure_table(study)
        ),
        "denominators": _present(tables.denominator_table(study)),
        "metrics": _present(
            tables.metric_table(study), tables.score_table(study), tables.extra_table(study)
        ),
        "worst": [_in_words(row) for row in sentences.worst_cases(study).iter_rows(named=True)],
        "collapsed": collapsed(study),
        "damaged": damaged(study),
        "run": _present(
            overview.model_table(study), overview.editor_table(study), overview.dataset_table(study)
        ),
        "settings": overview.settings(study),
    }


def contents(shown: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The anchors and short titles of the sections that the page has, in order."""
    found = [("findings", "Summary")]
    found += [("comparison", "Editors")] if shown["comparison"] else []
    found += [("explore", "Every case")] if shown["cases"] else []
    found += [
        (f"figures-{place}", title)
        for place, (_, drawn), title in zip(
            range(1, 3),
            (f for f in shown["figures"] if f[1]),
            ("Perplexity", "Cause"),
            strict=False,
        )
    ]
    found += [("verdicts", "Verdicts")]
    found += [("denominators", "Denominators")] if shown["denominators"] else []
    found += [("metrics", "Metrics")] if shown["metrics"] else []
    found += [(each["section"].anchor, each["section"].title) for each in shown["sections"]]
    return [*found, ("worst", "Worst cases"), *HARMED, ("run", "Settings")]


def collapsed(study: ReportData) -> list[HarmfulCases]:
    """The collapsed cases of every group that has any."""
    return _harmful(study, COLLAPSED, pl.col("perplexity_ratio"), times)


def damaged(study: ReportData) -> list[HarmfulCases]:
    """The damaged cases of every group that has any."""
    return _harmful(study, DAMAGED, 1 - pl.col("top1_kept"), in_percent)


def _harmful(
    study: ReportData, grade: str, by: pl.Expr, shown: Callable[[float], str]
) -> list[HarmfulCases]:
    groups = []
    for row in study.groups():
        where = {name: row[name] for name in ("model", "editor", "dataset")}
        found = study.made(**where, grade=grade).select("case_id", "subject", by=by)
        cases = found.sort(["by", "case_id"], descending=[True, False])
        if cases.is_empty():
            continue
        names = [
            f"{subject} {shown(value)}" for subject, value in cases.select("subject", "by").rows()
        ]
        count = f"{plural(len(names), 'case')} of {row['n_ok']:,}"
        heading = f"{row['editor']} on {row['model']}, {row['dataset']}: {count}"
        omitted = max(0, len(names) - MOST_NAMES)
        groups.append(HarmfulCases(heading, tuple(names[:MOST_NAMES]), omitted))
    return groups


def _shown(section: PageSection, drawn: Mapping[str, Path]) -> dict[str, Any]:
    """A section as the template shows it, its figures as markup."""
    figures = [
        _inlined(drawn[drawing.name], f"s-{drawing.name}", drawing.words)
        for drawing in section.drawings
    ]
    return {"section": section, "figures": figures, "tables": _present(*section.tables)}


def _inlined(file: Path, prefix: str, words: str) -> FigureOnPage:
    svg = inline(file.read_text(encoding="utf-8"), prefix, words)
    return FigureOnPage(Markup(svg), file.name)


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with its prompt split around the subject, so that the page can highlight it."""
    before, _, after = (row["prompt"] or "{}").partition("{}")
    return {**row, "before": before, "after": after}


def _present(*found: tables.Table | None) -> list[tables.Table]:
    return [table for table in found if table is not None and table.rows]


def _figures(
    study: ReportData, figures: Mapping[tuple[str, str, str], Path], kind: str
) -> list[FigureOnPage]:
    shown = []
    for number_of, ((this, model, editor), path) in enumerate(figures.items()):
        made = study.made(model=model, editor=editor)
        if this != kind or not _drawn(kind, made):
            continue
        count = made["collapsed"].sum()
        description = (
            f"{CAPTIONS[kind]} {editor} on {model}: {count:,} of {len(made):,} edits collapsed it."
        )
        shown.append(_inlined(path, f"f{number_of}", description))
    return shown


def _drawn(kind: str, made: pl.DataFrame) -> bool:
    """Whether there is anything to draw: editors without denominators have no such figure."""
    column = "denominator" if kind == "denominator" else "perplexity"
    return made[column].count() > 0


def _part(name: str) -> Markup:
    """A file of this folder, unchanged: style, script or licence."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))
