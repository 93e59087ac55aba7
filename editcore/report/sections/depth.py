"""The section on how deep edits go, if the study has metrics that probe this."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from editcore.numbers import number, share
from editcore.report.data import ReportData
from editcore.report.section import PageSection
from editcore.report.tables import WHERE, Row, Table

WORDS = (
    "An edit can take and still be shallow: the old object returns once the text names it, the new "
    "one appears where it does not belong, and what follows from the fact stays as it was.",
)


@dataclass(frozen=True)
class _Probe:
    """A table: its caption, and the columns of the edit rows with their heads."""

    caption: str
    columns: tuple[tuple[str, str], ...]
    shown: Callable[[float | None], str] = share


PROBES = (
    _Probe(
        "The original object is named before the edited prompt, in three ways (after Xie et al. "
        "2025). How often it is then the prediction; how often it is more probable than the new "
        "object; and the share of the new object’s tokens that are still predicted.",
        (
            ("attacked_old", "old object returns"),
            ("attacked_old_likelier", "old more probable"),
            ("attacked_new", "efficacy"),
        ),
    ),
    _Probe(
        "How often the new object is more probable than the right answer to another question "
        "(after Zhang et al. 2024), with the edited and with the unedited model.",
        (
            ("overfit_neighbours", "neighbours"),
            ("overfit_neighbours_base", "unedited"),
            ("overfit_consequences", "consequences"),
            ("overfit_consequences_base", "unedited"),
        ),
    ),
    _Probe(
        "How often a neighbour’s own object is more probable than the new one if the edited fact "
        "is in front of its prompt (Hoelscher-Obermaier et al. 2023).",
        (
            ("neighborhood_score_after_edit", "neighborhood score"),
            ("neighborhood_score_after_edit_base", "unedited"),
        ),
    ),
    _Probe(
        "How far the edit moves the distribution of the next token after neighbours: the mean "
        "Kullback-Leibler divergence in nats, without and with the edited fact in front.",
        (("neighbour_kl", "bare"), ("neighbour_kl_after_edit", "after the fact")),
        number,
    ),
    _Probe(
        "The share of the answers’ tokens that are predicted after what follows from the fact.",
        (
            ("portability", "portability"),
            ("portability_base", "unedited"),
            ("multi_hop", "several steps"),
            ("reversed", "reversed"),
        ),
    ),
)
OTHER_NUMBER = " In brackets: over how many edits, if these are fewer."


def section(study: ReportData) -> PageSection | None:
    """A table for each kind of probe that the study has; None if it has none."""
    tables = tuple(_tables(study))
    return PageSection("depth", "How deep the edits go", WORDS, (), tables) if tables else None


def _tables(study: ReportData) -> Iterator[Table]:
    for probe in PROBES:
        if not {f"{name}_mean" for name, _ in probe.columns} <= {*study.verdicts.columns}:
            continue
        rows = tuple(found for row in study.groups() if (found := _row(row, probe)))
        if rows:
            heads = (*WHERE, "edits", *(head for _, head in probe.columns))
            few = any(cell.endswith(")") for row in rows for cell in row[len(WHERE) + 1 :])
            yield Table(probe.caption + OTHER_NUMBER * few, heads, rows)


def _row(row: Row, probe: _Probe) -> tuple[str, ...]:
    """One group's cells; empty if nothing was measured."""
    counts = [row[f"{name}_n"] for name, _ in probe.columns]
    if not (most := max(counts)):
        return ()
    cells = [
        probe.shown(row[f"{name}_mean"]) + (f" ({count:,})" if 0 < count < most else "")
        for (name, _), count in zip(probe.columns, counts, strict=True)
    ]
    return (row["model"], row["editor"], row["dataset"], f"{most:,}", *cells)
