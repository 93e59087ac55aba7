"""The section on predicting, before the edit, whether it harms the model."""

from collections.abc import Sequence
from functools import partial

import polars as pl
from matplotlib.figure import Figure

from editcore.collapse import backtest, calibration
from editcore.collapse.backtest import ALL, OTHERS, PREDICTORS, TARGETS
from editcore.numbers import listed, number, share
from editcore.records.model_schemas import WARNING
from editcore.report.data import ReportData
from editcore.report.drawing.style import MUTED, PALETTE, editor_legend, marks, panels
from editcore.report.section import MOST_NAMED, Drawing, PageSection, Part
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
VERBS = {"harmed": "harm", "collapsed": "collapse"}
COLUMNS = 2
PANEL = (3.4, 1.6)  # inches

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
    panels_of = [
        (model, target)
        for target in TARGETS
        for model in study.models
        if _tested(study, model).select(TARGETS[target]).to_series().drop_nulls().n_unique() == 2
    ]
    drawing = Drawing(
        "warning",
        "ROC curves of each predictor, for the half of the edits that was not used for fitting, "
        "with a panel for each model and target.",
        partial(draw, study, panels_of),
    )
    return PageSection(
        anchor="warning",
        title="Predicting harm before the edit",
        part=Part.MECHANISM,
        point=point(study, found),
        paragraphs=(f"{FORECASTS if study.config.forecasts else NO_FORECASTS} {FITTED}",),
        drawings=(drawing,) if panels_of else (),
        tables=(_table(found),),
    )


def point(study: ReportData, found: pl.DataFrame) -> str:
    """The area of the predictor that warnings use, or of the best other one, by tested model."""
    known = found.filter(pl.col("auc").is_not_null(), editor=ALL)
    choices = (
        (target, predictor)
        for target, used in backtest.FORECASTS.items()
        for predictor in (used, backtest.FROM_PROMPT, *PREDICTORS)
    )
    for target, predictor in choices:
        some = known.filter(target=target, predictor=predictor)
        # First the rows fitted on the tested model itself; the area does not depend on the fit.
        own = some.sort(pl.col("calibrated_on") != pl.col("tested_on"), maintain_order=True)
        areas = [
            f"{own.filter(tested_on=model)['auc'][0]:.3f} on {model}"
            for model in study.models
            if model in own["tested_on"]
        ]
        if areas:
            return (
                f"Before the weights are changed for good, edits that {VERBS[target]} a model are "
                f"told from the others by {NAMES[predictor]}, with an area under the ROC curve of "
                f"{listed(areas, MOST_NAMED)} (1 is perfect, 0.5 is chance)."
            )
    return "No quantity that is known before an edit could be tested over all editors."


def _table(found: pl.DataFrame) -> Table:
    heads = (
        *("fitted on", "tested on", "predictor", "target", "edits", "with it"),
        *("area", "threshold", "recall", "precision", "false alarms"),
    )
    rows = [
        (
            "the other models" if row["calibrated_on"] == OTHERS else row["calibrated_on"],
            row["tested_on"],
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
        for row in found.filter(editor=ALL).iter_rows(named=True)
        if row["auc"] is not None
    ]
    caption = (
        "Predictors over the edits of all editors. “Area” is that under the ROC curve; each editor "
        "is in summary/warning.parquet."
    )
    return Table(caption, heads, tuple(rows), 4)


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


def draw(study: ReportData, shown: Sequence[tuple[str, str]]) -> Figure:
    """The ROC curves of a model and target in each panel."""
    titles = [f"{model}: {target}" for model, target in shown]
    figure, grid = panels(titles, min(COLUMNS, len(shown)), PANEL)
    # The last predictors are only in the table: there are fewer colours than predictors.
    drawn = marks([NAMES[name] for name in [*PREDICTORS][: len(PALETTE)]])
    for axes, (model, target) in zip(grid, shown, strict=True):
        edits = _tested(study, model)
        for name, mark in zip(PREDICTORS, drawn.values(), strict=False):
            scored = backtest.scores(edits, name, target)
            if scored["hit"].n_unique() == 2:
                across, up = calibration.curve(scored["score"].to_list(), scored["hit"].to_list())
                axes.plot(across, up, color=mark.colour, linewidth=1.3)
                axes.plot(*_middle(across, up), color=mark.colour, marker=mark.marker, ms=4)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.set_xlabel("share of false alarms")
    grid[0].set_ylabel("share detected")
    editor_legend(figure, drawn, 2)
    return figure


def _middle(across: Sequence[float], up: Sequence[float]) -> tuple[float, float]:
    """The point of a curve that is farthest from the diagonal, for its mark."""
    return max(zip(across, up, strict=True), key=lambda point: point[1] - point[0])
