"""The grid of the first screen: what became of each editor's edits of each model and data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from editcore.collapse.verdict import COLLAPSED, DAMAGED, SOUND
from editcore.config.collapse import CollapseSection
from editcore.numbers import in_percent
from editcore.report.data import ReportData

FAILED = "failed"
UNJUDGED = "not collapsed"


@dataclass(frozen=True)
class Cell:
    """The edits of a group: the worst grade among them, how many have each, and a link to them."""

    grade: str
    words: str
    others: str
    shares: tuple[tuple[str, float], ...]
    link: str


@dataclass(frozen=True)
class Grid:
    """Columns are the data sets of each model; a cell without edits is None."""

    columns: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]

    @property
    def grades(self) -> tuple[str, ...]:
        """The grades that any cell has, worst first, for the legend."""
        known = (COLLAPSED, DAMAGED, SOUND, UNJUDGED, FAILED)
        found = {g for _, cells in self.rows for cell in cells if cell for g, _ in cell.shares}
        return tuple(grade for grade in known if grade in found)


def grid(study: ReportData) -> Grid:
    """A row for each editor, in the order of the config."""
    groups = {(row["model"], row["editor"], row["dataset"]): row for row in study.groups()}
    columns = tuple(
        (
            model,
            tuple(d for d in study.datasets if any((model, e, d) in groups for e in study.editors)),
        )
        for model in study.models
    )
    places = [(model, dataset) for model, datasets in columns for dataset in datasets]

    def of_group(model: str, editor: str, dataset: str) -> Cell | None:
        row = groups.get((model, editor, dataset))
        return None if row is None else cell(row)

    return Grid(
        columns,
        tuple(
            (editor, tuple(of_group(model, editor, dataset) for model, dataset in places))
            for editor in study.editors
        ),
    )


def legend(rule: CollapseSection) -> dict[str, str]:
    """What each grade means, with the thresholds of the study."""
    share = in_percent(rule.damage)
    return {
        COLLAPSED: f"collapsed: perplexity above {rule.in_words()}",
        DAMAGED: f"damaged: the likeliest next token changed at over {share} of tokens",
        SOUND: "sound: neither",
        UNJUDGED: "not collapsed; damage was not measured",
        FAILED: "failed: the edit could not be made",
    }


def cell(row: Mapping[str, Any]) -> Cell:
    """The cell of a group.

    >>> row = {"model": "m", "editor": "a b", "dataset": "hard", "n": 9, "n_ok": 8}
    >>> found = cell(row | {"n_collapsed": 0, "n_damaged": 2})
    >>> found.words, found.others, found.link
    ('2 of 9 damaged', '1 failed', 'cases:model=m&editor=a%20b&dataset=hard&grade=damaged')
    >>> cell(row | {"n": 8, "n_collapsed": 0, "n_damaged": 0}).words
    'all 8 sound'
    """
    counts = {
        COLLAPSED: row["n_collapsed"],
        DAMAGED: row["n_damaged"] or 0,
        FAILED: row["n"] - row["n_ok"],
    }
    unharmed = UNJUDGED if row["n_damaged"] is None else SOUND
    counts[unharmed] = row["n"] - sum(counts.values())
    order = (COLLAPSED, DAMAGED, unharmed, FAILED)
    present = [grade for grade in order if counts[grade]]
    worst, *others = present or [unharmed]
    every = "all " if counts[worst] == row["n"] else f"{counts[worst]:,} of "
    link = {name: row[name] for name in ("model", "editor", "dataset")}
    if worst in (COLLAPSED, DAMAGED):
        link["grade"] = worst
    return Cell(
        grade=worst,
        words=f"{every}{row['n']:,} {worst}",
        others=", ".join(
            f"{counts[grade]:,} {grade}" for grade in others if grade in (DAMAGED, FAILED)
        ),
        shares=tuple((grade, round(100 * counts[grade] / row["n"], 1)) for grade in present),
        link="cases:" + "&".join(f"{name}={quote(value, safe='')}" for name, value in link.items()),
    )
