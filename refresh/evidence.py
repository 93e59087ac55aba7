"""The README's sentences about the full study of a real model, each computed and checked."""

from collections.abc import Iterator

import polars as pl

from editcore.numbers import listed, number, real
from editcore.records.schemas import CORRELATION, SEQUENCES_JUDGED
from editcore.report.data import ReportData
from refresh.claims import EDITOR, HARD, Claim

STRONG = -0.8
ENOUGH = 3
WITH_C = "rome-with-c"


def evidence(study: ReportData) -> list[Claim]:
    """All sentences for which the study has results, in the order of the README."""
    return [claim for make in (tasks, second_moment, sequences) for claim in make(study)]


def tasks(study: ReportData) -> Iterator[Claim]:
    """Perplexity ranks edited models as most tasks do."""
    found = study.table("correlation", CORRELATION)
    if found is None:
        return
    rows = found.sort("rho")
    shown = [f"{number(row['rho'])} in `{row['task']}`" for row in rows.to_dicts()]
    models = number(real(rows["n"].max()))
    yield Claim(
        f"**Perplexity ranks the edited models as the tasks do**: Spearman's ρ over {models} models"
        f" is {listed(shown)}.".replace(" -", " −"),
        int((found["rho"] <= STRONG).sum()) >= ENOUGH,
    )


def second_moment(study: ReportData) -> Iterator[Claim]:
    """What C changes in the edits of hard cases."""
    rows = {r["editor"]: r for r in study.groups() if r["dataset"] == HARD}
    if not {EDITOR, WITH_C} <= rows.keys():
        return
    without, with_c = rows[EDITOR], rows[WITH_C]

    yield Claim(
        "**C does not prevent the collapse**: with C, estimated from texts that the model wrote "
        f"itself, {with_c['n_collapsed']} of {with_c['n_ok']} of ROME's edits of hard cases "
        f"collapse the model (median ×{number(with_c['ratio_median'])}); without it, "
        f"{without['n_collapsed']} do (median ×{number(without['ratio_median'])}).",
        with_c["n_collapsed"] > 0 and without["n_collapsed"] > 0,
    )


def sequences(study: ReportData) -> Iterator[Claim]:
    """How far sequential edits of normal cases raise perplexity."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None:
        return
    most = real(rows["edits"].max())
    ends = rows.filter(edits=most).group_by("editor", "dataset")
    worst = ends.agg(pl.col("perplexity_ratio").max()).sort("perplexity_ratio")
    shown = [
        f"×{number(row['perplexity_ratio'])} (`{row['editor']}`, {row['dataset']} cases)"
        for row in worst.to_dicts()
    ]
    yield Claim(
        f"**Sequential editing**: after {number(most)} edits, perplexity is {listed(shown)}.",
        bool(shown),
    )
