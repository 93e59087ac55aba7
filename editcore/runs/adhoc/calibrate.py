"""Fits the warning on one model with one editor, by edits of generated and of ordinary facts."""

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from editcore.atomic import write_text
from editcore.collapse import backtest
from editcore.collapse import forecast as forecasts
from editcore.collapse.calibration import Calibration
from editcore.collapse.forecast import Forecaster
from editcore.collapse.verdict import judged
from editcore.datasets.bundled import is_bundled, resources_folder
from editcore.datasets.readers import read_requests
from editcore.errors import DataError
from editcore.models.hub import fetch_description
from editcore.numbers import in_percent, number, plural, share, times
from editcore.planning.cases import of_kind
from editcore.planning.jobs import ModelSpec
from editcore.progress import progress_bar
from editcore.registry.registry import Registry
from editcore.requests import OK, EditRequest
from editcore.runs.adhoc.hard_case_generator import generate, read_relations, read_vocabulary
from editcore.runs.adhoc.setup import set_up
from editcore.runs.prepare import Choice, Say, calibration_file, model_of

if TYPE_CHECKING:
    from editcore.config.collapse import CollapseSection
    from editcore.runs.edit import Shard

SEED = 0
COUNTERFACT = "counterfact"  # the format of all of them
COUNT = 24  # facts of each kind
QUICK = 120.0  # seconds that a calibration may take within another command
SLOWDOWN = 2  # measuring an edited model takes about as long as editing it


@dataclass(frozen=True)
class Calibrated:
    """A warning fitted on one model with one editor, and the grades of its edits."""

    forecaster: Forecaster
    grades: dict[str, int]
    failed: int

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        made = json.loads(self.forecaster.as_json())
        return {"grades": self.grades, "failed": self.failed, **made}

    def __str__(self) -> str:
        """The grades, and for each prediction the threshold and how well it separates."""
        made = self.forecaster
        grades = ", ".join(f"{count:,} {grade}" for grade, count in self.grades.items())
        failed = f"; {plural(self.failed, 'edit')} failed" if self.failed else ""
        head = f"{made.editor} on {', '.join(made.models)}: {plural(made.edits, 'edit')}, {grades}"
        harm = "{} of a sample's likeliest tokens change".format
        collapse = "perplexity on a sample of text becomes {}".format
        lines = [
            f"{head}{failed}",
            _line("harm", made.harmed, made.edits, lambda at: harm(in_percent(at))),
            _line("collapse", made.collapsed, made.edits, lambda at: collapse(times(at))),
        ]
        if made.prompt is not None:
            early = "running text gets {} times what the subject gets".format
            about = "harm, from the prompt alone"
            lines.append(_line(about, made.prompt, made.prompt.edits, lambda at: early(number(at))))
        return "\n".join(lines)


def _line(
    target: str, fitted: Calibration | None, edits: int, where: Callable[[float], str]
) -> str:
    if fitted is None:
        return f"{target}: no threshold, since none or all of the edits are of this kind"
    return (
        f"{target}: begins where {where(fitted.threshold)} ({fitted.hits} of {edits} edits; "
        f"recall {share(fitted.recall)}, precision {share(fitted.precision)} on them)"
    )


def calibrate(choice: Choice, count: int, cache: Path, say: Say) -> Calibrated:
    """Fit the warning by `count` hard and `count` ordinary edits, and keep it in `cache`.

    `check` then uses it. `say` is called with each step. Raises `EditcoreError` for what a study
    would be refused for, and `DataError` if the tokenizer gives too few hard cases or no edit can
    be made.
    """
    # Options are refused before facts are chosen, which may need torch; any fact will do for that.
    source = _spec(choice, say).source
    ready = set_up(choice, read_requests(_file(source), COUNTERFACT)[:1], cache, say)
    requests = facts(choice, count, say, ready.registry)
    say(f"edit {len(requests)} facts with {ready.shard.rows.job.editor.label}")
    return fit(ready.shard, requests, ready.rule, cache)


def fit(
    shard: "Shard", requests: Sequence[EditRequest], rule: "CollapseSection", cache: Path
) -> Calibrated:
    """The warning fitted by edits of `requests` in a loaded shard, kept in `cache`."""
    job = shard.rows.job
    rows = pl.DataFrame(list(_rows(shard, requests)), infer_schema_length=None)
    made = rows.filter(pl.col("status") == OK)
    if made.is_empty():
        raise DataError(
            f"none of the {len(rows)} edits could be made ({rows['status'][0]}); give other options"
        )
    graded = judged(made, rule)
    name, label = job.model.name, job.editor.label
    fitted = backtest.forecaster(
        graded,
        rule,
        {name: job.model.source},
        f"{plural(len(made), 'edit')} of {name} with {label}",
    )
    fitted = replace(fitted, editor=label)
    write_text(calibration_file(job, rule, cache), fitted.as_json())
    counts = dict(graded["grade"].value_counts(sort=True).iter_rows())
    return Calibrated(fitted, counts, len(rows) - len(made))


def own(shard: "Shard", rule: "CollapseSection", cache: Path) -> Forecaster | None:
    """The warning that was fitted on a shard's model with its editor; None if there is none."""
    path = calibration_file(shard.rows.job, rule, cache)
    return forecasts.load(path) if path.is_file() else None


def _rows(shard: "Shard", requests: Sequence[EditRequest]) -> Iterator[dict[str, Any]]:
    """The rows of the edits, without metrics and texts."""
    from editcore.runs.edit import TOGETHER

    job = shard.rows.job.model_copy(update={"continuation_tokens": 0})
    posed = shard.session.context.model.posed(requests)
    bare = replace(shard, requests=posed, rows=replace(shard.rows, job=job, metrics=()))
    with progress_bar(total=len(requests), title="calibrate", unit="edit") as bar:
        results = bare.results()
        while some := list(islice(results, TOGETHER)):
            yield from bare.rows.of(some)
            bar.update(len(some))


def facts(
    choice: Choice, count: int, say: Say, registry: Registry | None = None
) -> list[EditRequest]:
    """`count` hard and `count` ordinary facts for a model, the same each time.

    Hard ones are generated from bundled words; ordinary ones are drawn from the bundled facts.
    """
    model = _spec(choice, say)
    both = [*_hard(model.source, count, registry), *_ordinary(model, count, registry)]
    return [replace(request, case_id=number) for number, request in enumerate(both)]


def _spec(choice: Choice, say: Say) -> ModelSpec:
    """The chosen model, its description fetched."""
    label, model = model_of(choice)
    source = model.source or label
    fetch_description(source, model.revision, model.sha256, say)
    return ModelSpec(name=label, source=source, revision=model.revision)


def _ordinary(model: ModelSpec, count: int, registry: Registry | None) -> list[EditRequest]:
    file = _file(model.source)
    found = of_kind(read_requests(file, COUNTERFACT, registry), "normal", [model])
    if count > len(found):
        raise DataError(
            f"{file}: contains {len(found)} ordinary facts, but {count} were asked for; ask for "
            "fewer"
        )
    return random.Random(SEED).sample(found, count)


def _hard(source: str, count: int, registry: Registry | None) -> list[EditRequest]:
    from editcore.models.loading import load_tokenizer  # imported late: torch

    prefix = "hard/world-" if is_bundled(source) else "hard/"
    vocabulary = read_vocabulary(_resources() / f"{prefix}words.json")
    relations = read_relations(_resources() / f"{prefix}relations.json")
    records = generate(vocabulary, relations, load_tokenizer(source), count, SEED)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hard.json"
        write_text(file, json.dumps(records))
        return read_requests(file, COUNTERFACT, registry)


def _file(source: str) -> Path:
    """The facts from which the ordinary ones are drawn."""
    return _resources() / ("world/normal.json" if is_bundled(source) else "real/facts.json")


def _resources() -> Path:
    root = resources_folder()
    if root is None:
        raise DataError(
            "the folder resources with the facts to calibrate on was not found; run `pip install "
            "'editcore[world]'`, or name the folder with EDITCORE_RESOURCES"
        )
    return root
