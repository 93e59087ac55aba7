"""The commands that turn edit rows into tables, figures and the report."""

import json
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click

from editcore.cli.check import parsed
from editcore.cli.examples import examples
from editcore.cli.paths import FILE, FOLDER, OUT_FILE, OUT_FOLDER

# The kinds of results: what lists their tables in a study, and what joins them.
KINDS = MappingProxyType(
    {
        what: (f"editcore.planning.study:listed_{what}", f"editcore.summary.{what}:write_{what}")
        for what in ("edits", "sequences", "survival", "layers", "rounding", "answers")
    }
)
JUDGED = ("edits", "sequences", "survival")  # by the thresholds
to_tables = click.option(
    "--out", required=True, type=OUT_FOLDER, help="The folder of the summary tables."
)


@click.command(
    short_help="Collect edit rows into the summary tables.",
    epilog=examples(
        "editcore summarise --study results/jobs/study.json --out results/summary",
        "editcore summarise shard-000.parquet shard-001.parquet --out summary",
        "editcore summarise --what sequences --study results/jobs/study.json --out results/summary",
        "editcore summarise --what survival --study results/jobs/study.json --out results/summary",
        "editcore summarise --what layers --study results/jobs/study.json --out results/summary",
        "editcore summarise --what rounding --study results/jobs/study.json --out results/summary",
        "editcore summarise --what answers --study results/jobs/study.json --out results/summary",
    ),
)
@click.argument("files", nargs=-1, type=FILE)
@click.option("--study", type=FILE, help="Use the files that this study lists (study.json).")
@to_tables
@click.option(
    "--what",
    type=click.Choice(list(KINDS)),
    default="edits",
    help="The kind of results; edits by default.",
)
@click.option("--ratio", type=float, help="Collapsed above this multiple of the unedited model's.")
@click.option("--perplexity", type=float, help="Collapsed above this perplexity.")
@click.option(
    "--verdict",
    type=click.Choice(["ratio", "perplexity"]),
    help="Which of the two determines the column `collapsed`.",
)
@click.option("--damage", type=float, help="Damaged above this share of changed likeliest tokens.")
def summarise(
    files: tuple[Path, ...], study: Path | None, out: Path, what: str, **thresholds: Any
) -> None:
    """Collect the rows of all FILES (Parquet) in tables for the report, and judge edited models.

    Edits give cases.parquet, verdicts.parquet and warning.parquet; the last shows how well
    quantities known before an edit predict a collapse. Sequences give sequences.parquet, treated
    models give survival.parquet, keys at every layer give layers.parquet, rounded models give
    rounding.parquet, and free answers give answers.parquet and answers-examples.parquet. Thresholds
    are those of the study, or the defaults; --ratio, --perplexity, --verdict and --damage override
    them.
    """
    import pkgutil

    from editcore.config.collapse import CollapseSection, replaced
    from editcore.planning.study import listed_config

    given = {name: value for name, value in thresholds.items() if value is not None}
    if given and what not in JUDGED:
        raise click.UsageError(f"--{next(iter(given))}: only edited models are judged")
    listed, write = map(pkgutil.resolve_name, KINDS[what])
    jobs = listed(study) if study else {}
    if what in JUDGED:
        rule = replaced(listed_config(study).collapse if study else CollapseSection(), given)
        write([*files, *jobs], out, rule, jobs)
    else:
        write([*files, *jobs], out, jobs)


@click.command(
    short_help="Correlate perplexity with task scores.",
    epilog=examples(
        "editcore correlate --study results/jobs/study.json --out results/summary \\",
        "  --cases results/summary/cases.parquet",
        "editcore correlate scores.parquet --out summary --resamples 10000",
    ),
)
@click.argument("scores", nargs=-1, type=FILE)
@click.option("--study", type=FILE, help="Use the tables and settings of this study (study.json).")
@to_tables
@click.option("--cases", type=FILE, help="All edit rows of the study, as `summarise` writes them.")
@click.option("--resamples", type=click.IntRange(min=1), help="Number of bootstrap samples.")
@click.option("--seed", type=int, help="Seed of the bootstrap.")
def correlate(
    scores: tuple[Path, ...],
    study: Path | None,
    out: Path,
    cases: Path | None,
    resamples: int | None,
    seed: int | None,
) -> None:
    """Collect SCORES (Parquet files) in downstream.parquet and correlation.parquet.

    With --study and --cases, also write weight_change.parquet: for each model, the changed matrix
    of an edit that collapsed it, and of one that did not.
    """
    from editcore.config.stages import DownstreamSection
    from editcore.planning import preflight
    from editcore.planning.study import listed_config, listed_edits, listed_scores
    from editcore.summary.correlation import write_correlation

    preflight.files([str(cases)] if cases else [])
    config = listed_config(study) if study else None
    choice = (config.downstream if config else None) or DownstreamSection()
    jobs = listed_scores(study) if study else {}
    write_correlation(
        [*scores, *jobs],
        out,
        choice.resamples if resamples is None else resamples,
        (config.seed if config else 0) if seed is None else seed,
        jobs,
    )
    if study and cases:
        from editcore.runs import weight_pictures  # imports torch, which scores do not need

        edits = list(listed_edits(study).values())
        weight_pictures.run(cases, edits, out / "weight_change.parquet")


@click.command(
    short_help="Test the warning on models that it was not fitted on.",
    epilog=examples(
        "editcore backtest results path/to/other/results",
        "editcore backtest results path/to/other/results --calibration warning.json --out tested",
        "editcore backtest results path/to/other/results --damage 0.2",
    ),
)
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--out", type=OUT_FOLDER, help="Write the table into this folder (warning.parquet).")
@click.option(
    "--calibration", type=OUT_FILE, help="Write the warning fitted on all models to this file."
)
@click.option("--damage", type=float, help="Damaged above this share of changed likeliest tokens.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backtest(
    folders: tuple[Path, ...],
    out: Path | None,
    calibration: Path | None,
    damage: float | None,
    as_json: bool,
) -> None:
    """Fit what predicts harm on all models but one of the studies in FOLDERS, and test it on that.

    FOLDERS are results folders of finished studies; together they must have two models or more. A
    row of the output is one predictor, one target and one model that was left out; false alarms are
    a share of the edits without the target.
    """
    from editcore.config.collapse import CollapseSection, replaced
    from editcore.summary.left_out.page import page
    from editcore.summary.left_out.run import run

    given = {} if damage is None else {"damage": damage}
    found = run(folders, replaced(CollapseSection(), given))
    if calibration is not None:
        found.save_calibration(calibration)
    if out is not None:
        found.save(out)
    click.echo(json.dumps(found.left_out.to_dicts(), indent=2) if as_json else page(found))


@click.command(
    short_help="Score free answers again with another judge.",
    epilog=examples(
        "editcore rescore results --judge contains --out judged.parquet",
        "editcore rescore results/answers/model=tiny-gpt2 --judge model --out judged.parquet \\",
        "  --set source=path/to/model --set dtype=bfloat16 --set device=cuda",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--judge", "name", required=True, help="The judge's name (see `editcore plugins`).")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="OPTION=VALUE",
    help="One of the judge's options (see `editcore plugins --json`); repeatable.",
)
@click.option("--out", required=True, type=OUT_FILE, help="The table to write (Parquet).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def rescore(
    files: tuple[Path, ...], name: str, settings: tuple[str, ...], out: Path, as_json: bool
) -> None:
    """Judge the free answers in FILES: answer tables (Parquet), or folders of results.

    The answers of edited and unedited models were kept when the edits were measured, so nothing is
    edited or asked again. Writes the scores to --out. For each model, editor, data set, kind of
    question and way of asking, prints the number of judged answers, their exact match, the judge's
    mean score, and the share of answers on which the two agree.
    """
    from editcore.evaluation.judges import choose
    from editcore.registry.registry import load_registry
    from editcore.runs.rescore import answer_files, read_answers
    from editcore.runs.rescore import rescore as run
    from editcore.summary.agreement import agreement, page

    judge = choose(name, parsed(settings), load_registry())
    made = run(read_answers(answer_files(files)), judge)
    made.save(out)
    if as_json:
        rows = agreement(made.rows).to_dicts()
        found = {"judge": name, "options": made.options, "rows": rows}
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo(page(name, made.rows))


@click.command(
    short_help="Make a data set of the cases that collapsed a model.",
    epilog=examples(
        "editcore mine --study results/jobs/study.json --out mined",
        "editcore mine --cases cases.parquet --data hard=hard.json --out mined",
    ),
)
@click.option("--study", type=FILE, help="The finished study (study.json) to mine.")
@click.option(
    "--cases",
    type=FILE,
    default=Path("results/summary/cases.parquet"),
    show_default=True,
    help="The table of edit rows.",
)
@click.option("--data", multiple=True, help="A data set's label and file, as label=file.")
@click.option("--out", required=True, type=OUT_FOLDER, help="The folder of the data files.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for normal cases.")
def mine(study: Path | None, cases: Path, data: tuple[str, ...], out: Path, seed: int) -> None:
    """Write, per model and editor, the cases that collapsed the model and equally many others.

    The files are in COUNTERFACT's format, can be used in another study, and record the origin of
    each case.
    """
    from editcore.datasets.data_file import DataFile
    from editcore.planning.study import listed_config
    from editcore.records.schemas import CASES
    from editcore.records.tables import read_table
    from editcore.sources.published import local_file
    from editcore.summary.mine import named, write_mined

    sets = listed_config(study).datasets if study else {}
    files = {
        label: DataFile(local_file(choice), choice.format, choice.columns)
        for label, choice in sets.items()
    }
    mined = write_mined(read_table(cases, CASES), files | named(data), out, seed, str(cases))
    for path, count in mined.files.items():
        click.echo(f"{path}: {count} cases")


@click.command(
    "mechanism-tables",
    short_help="Join the models' tables on why edits collapse them.",
    epilog=examples(
        "editcore mechanism-tables results/mechanism/model=* \\",
        "  --cases results/summary/cases.parquet --out results/summary",
    ),
)
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--cases", required=True, type=FILE, help="All edit rows, as `summarise` writes them."
)
@to_tables
def mechanism_tables(folders: tuple[Path, ...], cases: Path, out: Path) -> None:
    """Join the mechanism tables in FOLDERS, with results of the edits, as mechanism-*.parquet."""
    from editcore.summary.mechanism.tables import write_mechanism

    write_mechanism(folders, cases, out)


@click.command(
    short_help="Draw the figures and write the HTML report.",
    epilog=examples(
        "editcore report --summary results/summary --figures results/figures \\",
        "  --study results/jobs/study.json --out results/report.html",
    ),
)
@click.option("--summary", required=True, type=FOLDER, help="The folder of the summary tables.")
@click.option(
    "--figures", required=True, type=OUT_FOLDER, help="The folder to draw the figures in."
)
@click.option("--out", required=True, type=OUT_FILE, help="The HTML page to write.")
@click.option(
    "--study", required=True, type=FILE, help="The study (study.json) that the report is about."
)
def report(summary: Path, figures: Path, out: Path, study: Path) -> None:
    """Draw the figures of a study and write its report, one self-contained HTML page."""
    from editcore.planning.study import listed_config
    from editcore.report import write_report

    write_report(summary, figures, out, listed_config(study))
