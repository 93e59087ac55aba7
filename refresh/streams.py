"""Fits the alarm of sequences again: `python -m refresh.streams RESULTS...`, folders of studies.

Writes the alarm that editcore provides, and the tables of docs/streams.md.
"""

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import polars as pl

from editcore.collapse.stream_warning import STREAM, Tested, ranked, streams
from editcore.collapse.verdict import COLLAPSED, HARMFUL, SOUND
from editcore.config.alarm import IN_WORDS, SHIPPED, Alarm
from editcore.errors import EditcoreError
from editcore.numbers import listed, number, plural, share, times
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.records.tables import read_table
from editcore.report.sections.sequences.rows import median
from refresh.documents import between
from refresh.repository import results_argument, root_option
from refresh.telemetry import PAGE

PREDICTED = "<!-- foretold: start -->", "<!-- foretold: end -->"
LONG = 400  # edits
KIND = ("model", "editor", "batch", "arrangement")
LASTED = "<!-- lasted: start -->", "<!-- lasted: end -->"


def lasted(rows: pl.DataFrame) -> str:
    """Edits until damage and collapse of each kind of sequence, smallest and largest over seeds."""
    lines = []
    for (model, editor, batch, arrangement), group in rows.group_by(KIND, maintain_order=True):
        graded = group.filter(pl.col("edits") > 0, pl.col("grade").is_not_null())
        ends = group.group_by("order").agg(pl.col("edits").max())["edits"]
        harmed, collapsed = pl.col("grade") != SOUND, pl.col("grade") == COLLAPSED
        last = graded.sort("edits").group_by("order").last()
        spans = [_first(graded, harmed), _first(graded, collapsed), _range(ends)]
        about = model, editor, batch, arrangement, len(ends)
        hold = share(median(last["efficacy_so_far"]))
        ratio = times(median(last["perplexity_ratio"]))
        lines.append((*about, *spans, ratio, hold, _seconds(group)))
    heads = (
        *("model", "editor", "per step", "order", "sequences", "damaged after", "collapsed after"),
        *("edits", "ratio", "hold", "seconds an edit, by fifths of the sequence"),
    )
    return _table(heads, lines)


def foretold(tests: list[Tested]) -> str:
    """The predictors of one harm, by lead with each editor left out."""
    found = {(test.predictor, test.left_out): test for test in tests}
    lines = [
        (
            test.predictor,
            *_test(test),
            *_test(found.get((test.predictor, "model"))),
            number(test.threshold),
        )
        for test in tests
        if test.left_out == "editor"
    ]
    heads = (
        *("predictor", "editors left out: warned", "lead", "false alarms"),
        *("models left out: warned", "lead", "false alarms", "threshold"),
    )
    return _table(heads, lines)


def _test(test: Tested | None) -> tuple[str, ...]:
    values = (test.warned, test.lead, test.false_alarms) if test else ()
    return tuple(f"{value:.0%}" for value in values) or ("–",) * 3


def alarm(found: list[Tested]) -> Alarm:
    """The best of those quantities that every sequence measures, for a collapse."""
    best = next(t for t in found if t.predictor in IN_WORDS and t.left_out == "editor")
    return Alarm.model_validate(
        {"predictor": best.predictor, "threshold": float(f"{best.threshold:.3g}")}
    )


@click.command(help=__doc__)
@results_argument
@click.option(
    "--also",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="List the sequences of this study, too, but fit nothing on them; repeatable.",
)
@root_option
def main(results: tuple[Path, ...], also: tuple[Path, ...], root: Path) -> None:
    """Rank the quantities on the sequences in RESULTS, and write both files."""
    rows, every = _rows(results), _rows((*results, *also))
    found = {target: ranked(streams(rows, target)) for target in HARMFUL}
    made = alarm(found["collapse"])
    file = root / "editcore" / "config" / SHIPPED
    file.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    counts = rows.unique(STREAM).group_by("model").len().sort("model").iter_rows()
    of_models = listed([f"{plural(count, 'sequence')} of {model}" for model, count in counts])
    text = (root / PAGE).read_text(encoding="utf-8")
    tested = [f"What foretells {harm}:\n\n{foretold(tests)}" for harm, tests in found.items()]
    text = between(text, "\n\n".join([f"Tested on {of_models}.", *tested]), *PREDICTED)
    (root / PAGE).write_text(between(text, lasted(every), *LASTED), encoding="utf-8")
    click.echo(f"the alarm: {made.predictor} from {made.threshold} on")


def _rows(folders: Sequence[Path]) -> pl.DataFrame:
    """The sequences of all these studies; raises `UsageError` for a folder without any."""
    try:
        tables = [
            read_table(folder / "summary" / "sequences.parquet", SEQUENCES_JUDGED)
            for folder in folders
        ]
    except EditcoreError as error:
        raise click.UsageError(str(error)) from error
    return pl.concat(tables, how="diagonal").sort(*KIND, "order", "step")


def _first(graded: pl.DataFrame, where: pl.Expr) -> str:
    """The number of edits at which it was first so, over the sequences; and how many never were."""
    first = graded.filter(where).group_by("order").agg(pl.col("edits").min())["edits"]
    never = graded["order"].n_unique() - len(first)
    if not len(first):
        return "never"
    return _range(first) + (f", {never} never" if never else "")


def _seconds(group: pl.DataFrame) -> str:
    """Mean seconds an edit, all measurements included, in each fifth of the sequences.

    Over those with at least `LONG` edits; a dash without one.
    """
    found = []
    for _, stream in group.filter(pl.col("edits") > 0).group_by("order"):
        if len(stream) >= LONG:
            seconds = stream.sort("edits")["seconds"].to_numpy()
            found.append([float(part.mean()) for part in np.array_split(seconds, 5)])
    means = (sum(part) / len(part) for part in zip(*found, strict=True))
    return ", ".join(f"{mean:.2f}" for mean in means) or "–"


def _range(values: pl.Series) -> str:
    ordered = sorted(values)
    low, high = ordered[0], ordered[-1]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _table(heads: tuple[str, ...], rows: list[tuple[object, ...]] | list[tuple[str, ...]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


if __name__ == "__main__":
    main()
