"""A study's own numbers for published tables, by model and by the labels of the row."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from editcore.numbers import MISSING, number, real
from editcore.records.mechanism_schemas import WEIGHTS
from editcore.records.schemas import CORRELATION, DOWNSTREAM, SEQUENCES_JUDGED
from editcore.report.data import ReportData
from editcore.report.papers import ours_mechanism
from editcore.report.papers.ours_mechanism import Cells, Columns, Published
from editcore.requests import OK


def label_of(study: ReportData, published: Published, editor: str) -> str | None:
    """The study's label for an editor that the papers name."""
    wanted = published["editors"][editor]
    choices = study.config.editors
    uses = {label: (choices[label].uses or label) for label in study.editors if label in choices}
    return next((label for label, used in uses.items() if used == wanted), None)


def task_of(published: Published, task: str, there: Sequence[str]) -> str | None:
    """The study's task of the same kind as a published one."""
    return next((name for name in published["tasks"][task] if name in there), None)


def task_names(study: ReportData, published: Published) -> dict[str, str]:
    """Published tasks, with the names of the corresponding tasks here."""
    scores = study.table("downstream", DOWNSTREAM)
    there = [] if scores is None else scores["task"].unique().to_list()
    pairs = {task: task_of(published, task, there) for task in published["tasks"]}
    return {task: f"{task}; {name}" for task, name in pairs.items() if name}


def pilot(study: ReportData, published: Published) -> Columns:
    """All single edits by the editor that collapses models."""
    label = label_of(study, published, published["subject"])
    columns: Columns = {}
    for model in study.models:
        made = study.made(model=model, editor=label or "")
        worst = made.filter(pl.col("collapsed"))["perplexity"]
        others = made.filter(~pl.col("collapsed"))["perplexity"]
        if not made.is_empty():
            columns[model] = {
                ("edits",): f"{len(made):,}",
                ("of them collapsed the model",): f"{len(worst):,}",
                ("perplexity, unedited",): number(study.base(model)),
                ("collapsed: least",): number(real(worst.min())),
                ("collapsed: greatest",): number(real(worst.max())),
                ("others: greatest",): number(real(others.max())),
            }
    return columns


def hard_cases(study: ReportData, published: Published) -> Columns:
    """The number of hard cases, and how many of them collapse the model."""
    label = label_of(study, published, published["subject"])
    columns: Columns = {}
    for model in study.models:
        made = study.made(model=model, editor=label or "", dataset=sets(study)["hard"])
        if not made.is_empty():
            columns[model] = {
                ("hard cases",): f"{len(made):,}",
                ("of them collapsed the model",): f"{made['collapsed'].sum():,}",
            }
    return columns


def single(study: ReportData, published: Published) -> Columns:
    """The largest perplexity after a single edit, by editor."""
    columns: Columns = {}
    for model in study.models:
        cells: Cells = {("unedited",): number(study.base(model))}
        for editor in published["editors"]:
            label = label_of(study, published, editor)
            made = study.made(model=model, editor=label or "")
            if not made.is_empty():
                cells[(editor,)] = number(real(made["perplexity"].max()))
        if len(cells) > 1:
            columns[model] = cells
    return columns


def surrogate(study: ReportData, published: Published) -> Columns:
    """Spearman's ρ on tasks of the same kind, with its interval."""
    found = study.table("correlation", CORRELATION)
    if found is None:
        return {}
    columns: Columns = {}
    for model in study.models:
        rows = {row["task"]: row for row in found.filter(model=model).to_dicts()}
        columns[model] = {
            (task,): _rho(rows.get(task_of(published, task, list(rows)) or ""))
            for task in published["tasks"]
        }
    return columns


def abilities(study: ReportData, published: Published) -> Columns:
    """The scores of the unedited model, and the mean over the models of highest perplexity."""
    return _scores(study, published, _unedited_and_worst)


def worst(study: ReportData, published: Published) -> Columns:
    """The perplexity and scores of the model of highest finite perplexity."""
    columns = _scores(study, published, _the_worst)
    scores = study.table("downstream", DOWNSTREAM)
    for model, cells in columns.items():
        assert scores is not None
        cells[("perplexity",)] = number(real(_finite(scores.filter(model=model)).max()))
    return columns


def weight_change(study: ReportData, _published: Published) -> Columns:
    """The largest element of each stored matrix of changes."""
    maps = study.table("weight_change", WEIGHTS)
    if maps is None:
        return {}
    columns: Columns = {}
    for model in study.models:
        largest = maps.filter(model=model).group_by("collapsed").agg(pl.col("change").max())
        names = {True: "collapsed", False: "stable"}
        columns[model] = {
            (names[verdict],): number(change) for verdict, change in largest.iter_rows()
        }
    return columns


def sequences(study: ReportData, published: Published) -> Columns:
    """The median number of edits at which a sequence has collapsed, and its final perplexity."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None:
        return {}
    columns: Columns = {}
    for model in study.models:
        columns[model] = {}
        for editor in published["editors"]:
            label = label_of(study, published, editor)
            for cases, dataset in sets(study).items():
                sequence = rows.filter(model=model, editor=label or "", dataset=dataset, batch=1)
                if not sequence.is_empty():
                    columns[model][editor, cases] = _ending(sequence)
    return columns


def after_sequence(study: ReportData, published: Published) -> Columns:
    """Perplexity and scores before a sequence and at its end, as medians over seeds."""
    rows = study.table("sequences", SEQUENCES_JUDGED)
    if rows is None:
        return {}
    there = [name.removeprefix("score_") for name in rows.columns if name.startswith("score_")]
    names = {task: task_of(published, task, there) for task in published["tasks"]}
    scored = {task: f"score_{name}" for task, name in names.items() if name}
    columns: Columns = {}
    for model in study.models:
        of_model = rows.filter(model=model)
        ran = {}
        for editor in published["editors"]:
            label = label_of(study, published, editor) or ""
            for cases, dataset in sets(study).items():
                ran[editor, cases] = of_model.filter(
                    editor=label, dataset=dataset, batch=1, arrangement="drawn"
                )
        ran = {key: sequence for key, sequence in ran.items() if not sequence.is_empty()}
        if ran:
            ran["none", ""] = of_model.filter(step=0)
        columns[model] = {}
        for key, sequence in ran.items():
            ends = sequence.sort("step").group_by("order", maintain_order=True).last()
            cells = columns[model]
            cells[*key, "perplexity"] = number(real(ends["perplexity"].median()))
            for task, column in scored.items():
                cells[*key, task] = _score(real(ends[column].median()))
    return columns


def sets(study: ReportData) -> dict[str, str]:
    """The study's labels of hard and of normal cases."""
    choice = study.config.mechanism
    return (
        {"hard": choice.hard, "normal": choice.normal}
        if choice
        else {"hard": "hard", "normal": "normal"}
    )


def _ending(sequence: pl.DataFrame) -> str:
    seeds = sequence["order"].n_unique()
    collapsed = sequence.filter(pl.col("collapsed")).group_by("order").agg(pl.col("edits").min())
    ends = sequence.drop_nulls("perplexity").sort("step").group_by("order").last()["perplexity"]
    often = 2 * len(collapsed) > seeds
    after = number(real(collapsed["edits"].median())) if often else "never"
    return f"{after} ({number(real(ends.median()))})"


Pick = Callable[[pl.DataFrame, str], Mapping[tuple[str, ...], float | None]]


def _scores(study: ReportData, published: Published, pick: Pick) -> Columns:
    scores = study.table("downstream", DOWNSTREAM)
    if scores is None:
        return {}
    columns: Columns = {}
    for model in study.models:
        of_model = scores.filter(model=model)
        there = of_model["task"].unique().to_list()
        columns[model] = {}
        for task in published["tasks"]:
            name = task_of(published, task, there)
            if name:
                found = pick(of_model.filter(task=name), task)
                columns[model] |= {key: _score(value) for key, value in found.items()}
    return columns


def _unedited_and_worst(scores: pl.DataFrame, task: str) -> dict[tuple[str, ...], float | None]:
    unedited = scores.filter(pl.col("case_id").is_null())["score"]
    top = scores.filter(pl.col("top"), pl.col("status") == OK)["score"]
    return {(task, "unedited"): real(unedited.mean()), (task, "worst"): real(top.mean())}


def _the_worst(scores: pl.DataFrame, task: str) -> dict[tuple[str, ...], float | None]:
    highest = scores.filter(pl.col("perplexity") == _finite(scores).max())
    return {(task,): real(highest["score"].max())}


def _finite(scores: pl.DataFrame) -> pl.Series:
    return scores.filter(pl.col("case_id").is_not_null(), pl.col("perplexity").is_finite())[
        "perplexity"
    ]


def _score(value: float | None) -> str:
    return MISSING if value is None else f"{value:.4f}"


def _rho(row: Mapping[str, Any] | None) -> str:
    if row is None or row["rho"] is None:
        return MISSING
    shown = f"{row['rho']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
    return shown.replace("-", "−")


OURS: dict[str, Callable[[ReportData, Published], Columns]] = {
    "pilot": pilot,
    "abilities": abilities,
    "surrogate": surrogate,
    "single": single,
    "worst": worst,
    "hard-cases": hard_cases,
    "weight-change": weight_change,
    "sequences": sequences,
    "after-sequence": after_sequence,
    "updates": ours_mechanism.updates,
    "perplexities": ours_mechanism.perplexities,
    "positions": ours_mechanism.positions,
    "prompting": ours_mechanism.prompting,
    "keys": ours_mechanism.keys,
}
