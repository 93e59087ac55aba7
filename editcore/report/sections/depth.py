"""The section on how deep edits go, if the study has metrics that probe this."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from editcore.numbers import number, share
from editcore.report.data import ReportData
from editcore.report.section import PageSection, Part
from editcore.report.tables import WHERE, Row, Table

WORDS = (
    "An edit can take and still be shallow: the old object returns once the text names it, the new "
    "one appears where it does not belong, and what follows from the fact stays as it was."
)
OTHER_NUMBER = " In brackets: over how many edits, if these are fewer."


@dataclass(frozen=True)
class _Probe:
    """What it asks in words, its columns of the edit rows with their heads, and its finding.

    `finding` is a sentence with a place for the mean of each column that it names.
    """

    words: str
    columns: tuple[tuple[str, str], ...]
    finding: str
    shown: Callable[[float | None], str] = share


PROBES = (
    _Probe(
        "Attacked: the original object is named before the edited prompt, in three ways (after Xie "
        "et al. 2025).",
        (
            ("attacked_old", "attacked: old returns"),
            ("attacked_old_likelier", "attacked: old likelier"),
            ("attacked_new", "attacked: efficacy"),
        ),
        "After texts that name the old object, models answer with it again in {attacked_old} of "
        "the cases, and efficacy is {attacked_new}.",
    ),
    _Probe(
        "Overfit: how often the new object is more probable than the right answer to another "
        "question (after Zhang et al. 2024).",
        (
            ("overfit_neighbours", "overfit: neighbours"),
            ("overfit_neighbours_base", "unedited"),
            ("overfit_consequences", "overfit: consequences"),
            ("overfit_consequences_base", "unedited"),
        ),
        "After prompts about neighbours, the new object is likelier than the right one in a share "
        "of {overfit_neighbours} (unedited: {overfit_neighbours_base}).",
    ),
    _Probe(
        "After the fact: neighbours are asked with the edited fact in front (Hoelscher-Obermaier "
        "et al. 2023).",
        (
            ("neighborhood_score_after_edit", "neighborhood score, after the fact"),
            ("neighborhood_score_after_edit_base", "unedited"),
        ),
        "With the edited fact in front, neighbours keep their own object as the likelier one in a "
        "share of {neighborhood_score_after_edit} (unedited: "
        "{neighborhood_score_after_edit_base}).",
    ),
    _Probe(
        "KL: how far the edit moves the distribution of the next token after neighbours, in nats.",
        (("neighbour_kl", "KL, bare"), ("neighbour_kl_after_edit", "KL, after the fact")),
        "The next token after neighbours moves by {neighbour_kl} nats of KL divergence, and by "
        "{neighbour_kl_after_edit} with the edited fact in front.",
        number,
    ),
    _Probe(
        "Portability: the share of the answers’ tokens that are predicted after what follows from "
        "the fact.",
        (
            ("portability", "portability"),
            ("portability_base", "unedited"),
            ("multi_hop", "several steps"),
            ("reversed", "reversed"),
        ),
        "Of the answers that follow from an edited fact, models predict a share of {portability} "
        "of the tokens (unedited: {portability_base}).",
    ),
)


def section(study: ReportData) -> PageSection | None:
    """One table of all probes that the study has; None if it has none."""
    groups = study.groups()
    probes = [probe for probe in PROBES if _measured(study, probe)]
    if not probes:
        return None
    rows = tuple(_rows(groups, probes))
    heads = (*WHERE, "edits", *(head for probe in probes for _, head in probe.columns))
    few = any(cell.endswith(")") for row in rows for cell in row[len(WHERE) + 1 :])
    caption = "Means over the edits of each group." + OTHER_NUMBER * few
    return PageSection(
        anchor="depth",
        title="How deep the edits go",
        part=Part.EDITS,
        point=point(groups, probes[0]),
        paragraphs=(" ".join((WORDS, *(probe.words for probe in probes))),),
        tables=(Table(caption, heads, rows),),
    )


def point(groups: Sequence[Row], probe: _Probe) -> str:
    """The finding of a probe, over all edits of the study."""
    means = {name: probe.shown(_mean(groups, name)) for name, _ in probe.columns}
    return probe.finding.format(**means)


def _measured(study: ReportData, probe: _Probe) -> bool:
    columns = {f"{name}_n" for name, _ in probe.columns}
    if not columns <= {*study.verdicts.columns}:
        return False
    return any(row[name] for row in study.groups() for name in columns)


def _mean(groups: Sequence[Row], name: str) -> float | None:
    """The mean over all edits of several groups."""
    known = [(row[f"{name}_mean"], row[f"{name}_n"]) for row in groups if row[f"{name}_n"]]
    total = sum(n for _, n in known)
    return sum(mean * n for mean, n in known) / total if total else None


def _rows(groups: Sequence[Row], probes: Sequence[_Probe]) -> Iterator[tuple[str, ...]]:
    """The cells of each group in which something was measured."""
    columns = [(name, probe.shown) for probe in probes for name, _ in probe.columns]
    for row in groups:
        if most := max(row[f"{name}_n"] for name, _ in columns):
            cells = (
                shown(row[f"{name}_mean"])
                + (f" ({n:,})" if 0 < (n := row[f"{name}_n"]) < most else "")
                for name, shown in columns
            )
            yield (row["model"], row["editor"], row["dataset"], f"{most:,}", *cells)
