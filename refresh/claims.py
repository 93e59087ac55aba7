"""The README's sentences about the bundled models, each computed and checked."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import polars as pl

from editcore.collapse.backtest import ALL, FORECASTS
from editcore.numbers import listed, number, real, share
from editcore.records.model_schemas import LAYERS, WARNING
from editcore.records.schemas import CORRELATION, SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.sections.layers import by_layer, edited_layers

EDITOR, REMEDY, HARD, EARLY = "rome", "c-rome", "hard", "early"
FEW = 0.05
# An edit with a perplexity ratio above this has done harm that can be seen.
RISEN = 1.1


@dataclass(frozen=True)
class Claim:
    """A sentence, and whether the study supports it."""

    text: str
    holds: bool


def claims(study: ReportData) -> list[Claim]:
    """All sentences for which the study has results, in the order of the README."""
    makers = (collapse, between_kinds, remedy, layers, sequences, tasks, warning)
    return [claim for make in makers for claim in make(study)]


def ordinary(datasets: Collection[str]) -> str:
    """Of a study's data sets, the one that the hard cases are compared with."""
    return "late" if "late" in datasets else "normal"


def collapse(study: ReportData) -> Iterator[Claim]:
    """Only one editor collapses models with single hard edits."""
    rows = study.groups()
    hard = {r["model"]: r for r in rows if r["editor"] == EDITOR and r["dataset"] == HARD}
    label = ordinary({r["dataset"] for r in rows})
    normal = {r["model"]: r for r in rows if r["editor"] == EDITOR and r["dataset"] == label}
    if not hard or hard.keys() != normal.keys():
        return
    others = sum(r["n_collapsed"] for r in rows if r["editor"] != EDITOR)
    apart = all(
        (hard[m]["denominator_median"] or 1) < 0.2 * (normal[m]["denominator_median"] or 0)
        for m in hard
    )
    counts = [f"{hard[m]['n_collapsed']} of {hard[m]['n_ok']} on `{m}`" for m in hard]
    below = [
        f"{number(hard[m]['denominator_median'])} on `{m}` ({label} cases: "
        f"{number(normal[m]['denominator_median'])})"
        for m in hard
    ]
    some = [
        f"{r['n_collapsed']} of {r['n_ok']} on `{m}`" for m, r in normal.items() if r["n_collapsed"]
    ]
    few = f" Of the {label} cases, {listed(some)} collapse." if some else ""
    yield Claim(
        f"**ROME's edits of hard cases collapse the model ({listed(counts)}), and no single edit "
        "by another editor does.** ROME's median denominator on hard cases is "
        f"{listed(below)}.{few}",
        others == 0
        and apart
        and all(r["n_collapsed"] > r["n_ok"] / 2 for r in hard.values())
        and all(r["n_collapsed"] <= FEW * r["n_ok"] for r in normal.values()),
    )


def between_kinds(study: ReportData) -> Iterator[Claim]:
    """Where the subject ends a token or two later, edits still do harm, but less."""
    if EARLY not in study.datasets:
        return
    label = ordinary(study.datasets)
    ratios = {
        name: study.made(editor=EDITOR, dataset=name)["perplexity_ratio"] for name in (EARLY, label)
    }
    risen = {name: int((found > RISEN).sum()) for name, found in ratios.items()}
    shown = {
        name: f"{risen[name]} of {len(found)} (at most ×{number(real(found.max()))})"
        for name, found in ratios.items()
    }
    yield Claim(
        "**Between the two**: of the facts whose subject ends at the second or third token, ROME "
        f"raises perplexity by more than a tenth in {shown[EARLY]}; of those where it ends later, "
        f"in {shown[label]}.",
        risen[EARLY] * len(ratios[label]) > risen[label] * len(ratios[EARLY]),
    )


def remedy(study: ReportData) -> Iterator[Claim]:
    """The remedy's edits of hard cases take effect only after a prefix."""
    rows = [r for r in study.groups() if r["editor"] == REMEDY and r["dataset"] == HARD]
    if not rows:
        return
    shown = [
        f"{share(r['efficacy_mean'])} bare and {share(r['efficacy_prefixed_mean'])} after a "
        f"prefix on `{r['model']}`"
        for r in rows
    ]
    yield Claim(
        "**C-ROME's edit of a hard case takes effect only after a prefix**, as *The Fall of ROME*"
        f" reports of large models: efficacy {listed(shown)}.",
        all(r["efficacy_mean"] < 0.2 and r["efficacy_prefixed_mean"] > 0.8 for r in rows),
    )


def layers(study: ReportData) -> Iterator[Claim]:
    """At the edited layer, the bare key of hard cases has little of the mean key's direction."""
    rows = study.table("layers", LAYERS)
    if rows is None:
        return
    found = by_layer(rows)
    label = ordinary(study.datasets)
    apart, shown = True, []
    for model in study.models:
        for layer in edited_layers(study, model):
            share_of = dict(
                found.filter(model=model, layer=layer)
                .select("dataset", "denominator_share_median")
                .iter_rows()
            )
            if {HARD, label} <= share_of.keys():
                apart &= share_of[HARD] < 0.2 * share_of[label]
                shown.append(
                    f"{number(share_of[HARD])} on hard and {number(share_of[label])} on {label} "
                    f"cases at layer {layer} of `{model}`"
                )
    if shown:
        yield Claim(
            "**The keys show it before any edit**: the product of bare and mean key, as a share of "
            f"the mean key's squared norm, is {listed(shown)} (medians).",
            apart,
        )


def sequences(study: ReportData) -> Iterator[Claim]:
    """Sequential hard edits with one editor collapse every model quickly."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None:
        return
    collapsed = rows.filter(pl.col("collapsed"), dataset=HARD).group_by("model", "editor")
    first = {(m, e): n for m, e, n in collapsed.agg(pl.col("edits").min()).iter_rows()}
    models = [m for m in study.models if m in rows["model"]]
    soonest = all(
        first.get((m, EDITOR), 1e9) <= min([n for (o, _), n in first.items() if o == m], default=0)
        for m in models
    )
    bears = all((m, REMEDY) not in first for m in models)
    counts = [f"{first.get((m, EDITOR), 0)} edits on `{m}`" for m in models]
    yield Claim(
        "**Sequential hard edits collapse the model first with ROME**, within "
        f"{listed(counts)}; the models survive all of C-ROME's edits.",
        soonest and bears,
    )


def tasks(study: ReportData) -> Iterator[Claim]:
    """Perplexity ranks models in the same way as task scores."""
    found = study.table("correlation", CORRELATION)
    if found is None or found["rho"].null_count():
        return
    low, high = (real(value) or 0.0 for value in (found["rho"].min(), found["rho"].max()))
    yield Claim(
        "**Perplexity predicts task performance**: Spearman's ρ with the score is between "
        f"{low:.2f} and {high:.2f} in every task on every model, its interval below zero.".replace(
            "-", "−"
        ),
        bool((found["ci_high"] < 0).all()),
    )


def warning(study: ReportData) -> Iterator[Claim]:
    """The prediction before the edit separates edits that harm the model from others."""
    found = study.table("warning", WARNING)
    if found is None or not study.models[1:]:  # the claim is about another model, too
        return
    tested = found.filter(editor=ALL, predictor=FORECASTS["harmed"], target="harmed").drop_nulls(
        "auc"
    )
    least = real(tested["auc"].min())
    if least is None:
        return
    yield Claim(
        "**The prediction before the edit** separates edits that harm the model from the "
        "others with an area under the ROC curve of at least "
        f"{int(least * 1000) / 1000:.3f}, on held-out edits and on the other model "
        "([the warning](docs/warning.md)).",
        least > 0.99,
    )
