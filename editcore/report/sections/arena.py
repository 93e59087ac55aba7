"""The editors ranked against each other: whether edits take, and what they harm and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from editcore.collapse.verdict import COLLAPSED, SOUND
from editcore.numbers import duration, in_percent, listed, number, real, share, storage
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.drawing.style import INK, MUTED, SMALL, Mark, dots, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part
from editcore.report.sections.sequences.rows import batches, median
from editcore.report.tables import Table
from editcore.requests import OK

FEWEST = 3  # editors that a ranking needs
MEANS = ("efficacy", "efficacy_prefixed", "efficacy_free", "generalization", "locality")
HEADS = ("efficacy", "prefixed", "free", "generalization", "locality")
LOOSE = 0.04  # of the figure: numbers of editors nearer than this are written together


@dataclass(frozen=True)
class Standing:
    """An editor's single edits of one model: shares and means of those that succeeded, and costs.

    `usable` is the share of all edits, failed ones included, that took and left the model sound.
    """

    editor: str
    edits: int
    failed: int
    usable: float
    took: float
    harmed: float | None
    collapsed: float | None
    means: Mapping[str, float | None]
    seconds: float | None
    memory: float | None
    size: float | None


def section(study: ReportData) -> PageSection | None:
    """A ranked table and a panel for each model with three editors or more; None without any."""
    found = {model: ranked(study, model) for model in study.models}
    several = {model: ranks for model, ranks in found.items() if len(ranks) >= FEWEST}
    if not several:
        return None
    return PageSection(
        anchor="arena",
        title="Editors compared",
        part=Part.EDITS,
        point=point(several),
        paragraphs=(
            "An edit is usable if it took and left the model sound; editors are ranked by the "
            "share of their usable edits, over all data sets, failed edits included. An edit took "
            "if the model gives the new object in any way that was asked. On the dashed line are "
            "the editors that no other one beats in both respects.",
            *_splits(study),
        ),
        drawings=(
            Drawing(
                "arena",
                "Share of edits that took against the share that harmed the model, with a panel "
                "for each model; the numbers are the ranks in the table.",
                partial(draw, several, marks(study.editors)),
            ),
        ),
        tables=(table(several, study.table("sequences", SEQUENCES_JUDGED)),),
    )


def point(found: Mapping[str, Sequence[Standing]]) -> str:
    """The editors with the most usable edits of each model, equals together."""
    parts = []
    for model, standings in found.items():
        best = standings[0].usable
        names = [one.editor for one in standings if one.usable == best]
        parts.append(f"{listed(names, MOST_NAMED)} on {model} ({in_percent(best)})")
    return (
        "The editors with the largest share of edits that took and left the model sound: "
        f"{listed(parts, MOST_NAMED)}."
    )


def ranked(study: ReportData, model: str) -> list[Standing]:
    """The editors of a model, best first; equals in the order of the config.

    Those of which no edit succeeded, or of which it was not measured whether one took, are left
    out.
    """
    tried = study.cases.filter(model=model)
    found = (_standing(tried.filter(editor=editor), editor) for editor in study.editors)
    return sorted(filter(None, found), key=lambda one: (-one.usable, one.harmed or 0.0))


def unbeaten(standings: Sequence[Standing]) -> list[Standing]:
    """Those that no other one beats: with more edits that took and no more harm, or vice versa."""

    def beats(one: Standing, other: Standing) -> bool:
        mine, theirs = _place(one), _place(other)
        return mine[0] <= theirs[0] and mine[1] >= theirs[1] and mine != theirs

    return [each for each in standings if not any(beats(one, each) for one in standings)]


def table(found: Mapping[str, Sequence[Standing]], sequences: pl.DataFrame | None = None) -> Table:
    """The ranking; with sequences, also the number of edits after which each model collapsed."""
    steps: dict[int, pl.DataFrame] = {}
    if sequences is not None:
        steps = {n: sequences.filter(batch=n) for n in batches(sequences)}
    cells = [
        (
            model,
            f"{rank}",
            one.editor,
            f"{one.edits:,}",
            f"{one.failed:,}",
            *map(share, (one.usable, one.took)),
            *(share(one.means[name]) for name in MEANS),
            *map(share, (one.harmed, one.collapsed)),
            duration(one.seconds),
            *map(storage, (one.memory, one.size)),
            *(_lasted(rows.filter(model=model, editor=one.editor)) for rows in steps.values()),
        )
        for model, standings in found.items()
        for rank, one in enumerate(standings, 1)
    ]
    lasted = [f"sequence, {n} per step" for n in steps]
    heads = ("model", "rank", "editor", "edits", "failed", "usable", "took", *HEADS)
    last = ("harmed", "collapsed", "time", "memory", "size", *lasted)
    caption = (
        "Editors by their share of usable edits. That is a share of all single edits; took to "
        "collapsed are shares and means of those that succeeded. Time is the mean for making an "
        "edit, without training, memory the largest peak of a process with the model, and size "
        "the median size of the change." + (" " + SEQUENCE_WORDS if steps else "")
    )
    return Table(caption, (*heads, *last), tuple(cells), 3)


SEQUENCE_WORDS = (
    "The last columns are the number of sequential edits at which the model was first found to "
    "have collapsed, or of those made without a collapse, with a “+” (medians over sequences)."
)


def draw(found: Mapping[str, Sequence[Standing]], shown: Mapping[str, Mark]) -> Figure:
    """The share of edits that took against the share that harmed, a point for each editor.

    `shown` are the editors' marks, the same for every model.
    """
    most = max(len(standings) for standings in found.values())
    figure, grid = panels(list(found), 1, (7.0, max(1.8, 0.17 * most + 0.6)))
    for axes, standings in zip(grid, found.values(), strict=True):
        _panel(axes, standings, shown)
    return figure


def _panel(axes: Axes, standings: Sequence[Standing], shown: Mapping[str, Mark]) -> None:
    axes.set_xlabel("share of edits that harmed the model")
    axes.set_ylabel("share of edits that took")
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.03, 1.03)
    best = sorted(map(_place, unbeaten(standings)))
    axes.plot(*zip(*best, strict=True), color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)), zorder=2)
    for one in standings:
        dots(axes, [_place(one)[0]], [_place(one)[1]], shown[one.editor], size=26, alpha=0.9)
    _number(axes, standings)
    axes.legend(
        handles=_keys(axes, standings, shown),
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        frameon=False,
        fontsize=SMALL,
        handletextpad=0.3,
        labelspacing=0.25,
    )


def _number(axes: Axes, standings: Sequence[Standing]) -> None:
    """The ranks next to their points; those of points that are close together are one text."""
    groups: dict[tuple[int, int], list[int]] = {}
    for rank, one in enumerate(standings, 1):
        across, up = _place(one)
        groups.setdefault((round(across / LOOSE), round(up / LOOSE)), []).append(rank)
    for ranks in groups.values():
        across, up = _place(standings[ranks[0] - 1])
        axes.annotate(
            ", ".join(map(str, ranks)),
            (across, up),
            (5, -9),
            textcoords="offset points",
            size=SMALL,
            color=INK,
        )


def _keys(axes: Axes, standings: Sequence[Standing], shown: Mapping[str, Mark]) -> list[Any]:
    handles = []
    for rank, one in enumerate(standings, 1):
        mark, label = shown[one.editor], f"{rank} {one.editor}"
        handles += [axes.scatter([], [], s=26, marker=mark.marker, color=mark.colour, label=label)]
    return handles


def _place(one: Standing) -> tuple[float, float]:
    return one.harmed or 0.0, one.took


def _standing(tried: pl.DataFrame, editor: str) -> Standing | None:
    made = tried.filter(pl.col("status") == OK, pl.col("took").is_not_null())
    if made.is_empty():
        return None
    sound = pl.col("grade") == SOUND
    shares = made.select(
        usable=(pl.col("took") & sound).sum() / len(tried),
        took=pl.col("took").mean(),
        harmed=(~sound).mean(),
        collapsed=(pl.col("grade") == COLLAPSED).mean(),
        # The mean, since an editor may find v* of many edits while it makes the first.
        seconds=pl.col("seconds_editing").mean(),
        memory=pl.col("peak_memory").max(),
        size=pl.col("change_bytes").median(),
    ).row(0, named=True)
    means = {name: real(made[name].mean()) for name in MEANS}
    failed = tried.filter(pl.col("status") != OK)
    return Standing(editor, len(tried), len(failed), means=means, **shares)


def _lasted(rows: pl.DataFrame) -> str:
    """The number of edits at which sequences were first found to have collapsed."""
    if rows.is_empty():
        return number(None)
    collapsed = rows.filter(pl.col("collapsed")).group_by("order").agg(pl.col("edits").min())
    if 2 * len(collapsed) > rows["order"].n_unique():
        return number(median(collapsed["edits"]))
    return f"{number(median(rows.group_by('order').agg(pl.col('edits').max())['edits']))}+"


def _splits(study: ReportData) -> list[str]:
    """Which cases the study reports, if its data sets are halves."""
    halves = {each.split for each in study.config.datasets.values()}
    if halves != {"reported"}:
        return []
    return [
        "The facts are those of the half that the study’s seed draws as `reported`; the other "
        "half, `tuning`, is for choosing options."
    ]
