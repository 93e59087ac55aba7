"""The section on predicting, before the edit, whether it harms the model."""

import polars as pl
from matplotlib.figure import Figure

from editcore.collapse import backtest, calibration
from editcore.collapse.backtest import ALL, OTHERS, PREDICTORS, TARGETS
from editcore.numbers import number, share
from editcore.records.model_schemas import WARNING
from editcore.report.data import ReportData
from editcore.report.drawing.style import INK, MUTED, PALETTE, panel
from editcore.report.section import Drawing, PageSection
from editcore.report.tables import Table
from editcore.requests import OK

NAMES = {
    "sample_changed": "changed tokens of a sample",
    "sample_ratio": "perplexity of a sample",
    "output_change": "change of the layer’s output",
    "warning": "the same, as a ratio of means",
    "exposure": "share that running text gets",
    "key_match": "match of the keys",
    "relative_change": "‖Δ‖/‖W‖",
    "denominator": "|denominator|",
    "subject_position": "subject’s position",
}


FORECASTS = (
    "Before the weights are changed for good, the edited model reads a sample of about 1,024 "
    "tokens, which are not those of the verdict. How many of its likeliest next tokens change "
    "predicts harm, from the limit of the grade on; its perplexity predicts a collapse. The other "
    "quantities below need no edited model; the share of the update that running text gets, "
    "relative to the subject, is known even before v* is searched for."
)
NO_FORECASTS = (
    "This study made no forecasts on a sample of text (`forecasts: false`). The quantities below "
    "need no edited model; the share of the update that running text gets, relative to the "
    "subject, is known even before v* is searched for."
)
FITTED = (
    "Each predictor is fitted on one half of a model’s edits and tested on the other half and on "
    "the other models; and it is fitted on all models but one and tested on that one. Thresholds, "
    "but for the share of changed tokens, are those that separate best, by F1, where they are "
    "fitted. Harmed means damaged or collapsed."
)


def section(study: ReportData) -> PageSection | None:
    """How well quantities known before an edit predict which edits harm or collapse a model."""
    found = study.table("warning", WARNING)
    if found is None or found["auc"].is_null().all():
        return None
    return PageSection(
        "warning",
        "Predicting harm before the edit",
        (f"{FORECASTS if study.config.forecasts else NO_FORECASTS} {FITTED}",),
        tuple(
            Drawing(
                f"warning-target={target}-model={model}",
                f"ROC curves for {target} on {model}, for the half of the edits that was not used "
                "for fitting.",
                lambda model=model, target=target: _curves(study, model, target),  # type: ignore[misc]
            )
            for model in study.models
            for target in TARGETS
            if _tested(study, model).select(TARGETS[target]).to_series().drop_nulls().n_unique()
            == 2
        ),
        (_table(found),),
    )


def _table(found: pl.DataFrame) -> Table:
    heads = (
        "fitted on",
        "tested on",
        "editor",
        "predictor",
        "target",
        "edits",
        "with it",
        "area",
        "threshold",
        "recall",
        "precision",
        "false alarms",
    )
    rows = [
        (
            "the other models" if row["calibrated_on"] == OTHERS else row["calibrated_on"],
            row["tested_on"],
            "all" if row["editor"] == ALL else row["editor"],
            NAMES[row["predictor"]],
            row["target"],
            f"{row['n']:,}",
            f"{row['n_hits']:,}",
            area(row["auc"]),
            number(_natural(row)),
            share(row["recall"]),
            share(row["precision"]),
            share(row["false_alarms"]),
        )
        for row in found.iter_rows(named=True)
        if row["auc"] is not None
    ]
    caption = (
        "Area under the ROC curve, and recall and precision of the threshold on the tested edits. "
        "An alarm is a value at or beyond the threshold; false alarms are a share of the edits "
        "without the target."
    )
    return Table(caption, heads, tuple(rows), 5)


def area(value: float | None) -> str:
    """An area under a curve, with four decimals.

    >>> area(0.99753), area(None)
    ('0.9975', '–')
    """
    return "–" if value is None else f"{value:.4f}"


def _natural(row: dict[str, object]) -> float | None:
    """The threshold in units of the quantity itself, if its inverse was used as predictor."""
    value = row["threshold"]
    if not isinstance(value, float):
        return None
    if row["predictor"] in ("denominator", "key_match"):
        return 1 / value
    return 1 / value - 1 if row["predictor"] == "subject_position" else value


def _tested(study: ReportData, model: str) -> pl.DataFrame:
    """The edits of a model in the half that the table's row for this model was tested on."""
    made = study.cases.filter(pl.col("status") == OK, pl.col("collapsed").is_not_null())
    own = made.filter(model=model)
    second = [
        not backtest.in_first_half(backtest.SEED, dataset, case)
        for dataset, case in own.select("dataset", "case_id").iter_rows()
    ]
    return own.filter(pl.Series(second, dtype=pl.Boolean))


def _curves(study: ReportData, model: str, target: str) -> Figure:
    figure, axes = panel(f"all editors on {model}", "false alarm rate", "")
    axes.set_ylabel(f"share of {target} edits detected")
    edits = _tested(study, model)
    # The last predictors are only in the table: there are fewer colours than predictors.
    for name, (colour, _) in zip(PREDICTORS, PALETTE, strict=False):
        scored = backtest.scores(edits, name, target)
        if scored["hit"].n_unique() < 2:
            continue
        values, hit = scored["score"].to_list(), scored["hit"].to_list()
        across, up = calibration.curve(values, hit)
        label = f"{NAMES[name]}: {area(calibration.area(values, hit))}"
        axes.plot(across, up, color=colour, linewidth=1.4, label=label)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.legend(loc="lower right", frameon=False, fontsize=7.5, labelcolor=INK)
    return figure
