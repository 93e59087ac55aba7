"""Whether two studies are compared like with like, and what only one of them has."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from editcore.numbers import number, plural
from editcore.summary.compared.finished import Finished
from editcore.summary.compared.further import unmatched
from editcore.summary.compared.groups import Group
from editcore.summary.compared.joined import FAILED, Joined, close
from editcore.summary.compared.settings import Setting

THRESHOLDS = "verdict"


def unlike(old: Finished, new: Finished, settings: Sequence[Setting], joined: Joined) -> list[str]:
    """Sentences on why numbers of the two studies are not of the same thing; none if they are."""
    found = [
        f"{setting.in_words} differs: {setting.old} and {setting.new}"
        for setting in settings
        if setting.unlike
    ]
    found += _measured(joined.cases)
    for study, alone in ((old, joined.only_old), (new, joined.only_new)):
        if alone:
            found.append(
                f"only in {study.name}, and left out: {plural(sum(alone.values()), 'case')}"
            )
    if joined.other_fact:
        found.append(
            "with another fact under the same number, and left out: "
            f"{plural(joined.other_fact, 'case')}"
        )
    if any(setting.part == THRESHOLDS for setting in settings):
        found.append(f"the thresholds of collapse differ; both are judged by those of {old.name}")
    return found


def missing(old: Finished, new: Finished, joined: Joined, groups: Sequence[Group]) -> list[str]:
    """Sentences on what only one study has, what could not be read, and edits that failed."""
    found = [*old.notes, *new.notes]
    for study, alone in ((old, joined.only_old), (new, joined.only_new)):
        found += [
            f"only in {study.name}: {plural(count, 'case')} of {editor} on {model}, {dataset}"
            for (model, editor, dataset), count in alone.items()
        ]
    for name in ("sequences", "tasks", "costs"):
        has = [study for study in (old, new) if _has(study, name)]
        if len(has) == 1:
            found.append(f"only {has[0].name} has {name}")
    for study in (old, new):
        found += [
            f"the weights of {model} are not known in {study.name}, so they are not compared"
            for model in joined.cases["model"].unique().sort()
            if model not in study.revisions
        ]
    for study, count in zip((old, new), unmatched(old, new), strict=True):
        if count:
            found.append(
                f"only in {study.name}: task scores of {plural(count, 'edited model')}; a study "
                "chooses them by their perplexity"
            )
    found += _failed(groups)
    return found


def _measured(cases: pl.DataFrame) -> Iterator[str]:
    """What the rows show of other texts or another unedited model."""
    pairs = cases.group_by("model").agg(
        tokens=(pl.col("old.token_count") != pl.col("new.token_count")).any(),
        base=(~close(pl.col("old.perplexity_base"), pl.col("new.perplexity_base"))).any(),
        old=pl.col("old.perplexity_base").drop_nulls().first(),
        new=pl.col("new.perplexity_base").drop_nulls().first(),
    )
    for row in pairs.sort("model").iter_rows(named=True):
        if row["tokens"]:
            yield f"perplexity on {row['model']} is over other texts: their tokens differ in number"
        if row["base"]:
            yield (
                f"the perplexity of the unedited {row['model']} differs: {number(row['old'])} and "
                f"{number(row['new'])}"
            )


def _has(study: Finished, name: str) -> bool:
    content: pl.DataFrame | Mapping[str, object] | None = getattr(study, name)
    return content is not None and len(content) > 0


def _failed(groups: Sequence[Group]) -> Iterator[str]:
    for group in groups:
        before, after = (
            sum(count for states, count in group.moves.items() if states[side] == FAILED)
            for side in (0, 1)
        )
        if before or after:
            yield (
                f"failed edits of {group.name}: {before:,} before and {after:,} now, of "
                f"{plural(group.n, 'case')}; no number includes them"
            )
