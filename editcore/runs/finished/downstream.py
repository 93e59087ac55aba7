"""Tasks on edited models: one job per model, which loads it and the tasks once."""

from pathlib import Path

from editcore.evaluation.lm_eval_adapter import EditedLM, Suite
from editcore.evaluation.perplexity import measure_unedited
from editcore.models.loading import load_spec
from editcore.planning.stages.jobs import DownstreamJob
from editcore.progress import progress_bar
from editcore.records.provenance import of_job
from editcore.records.schemas import DOWNSTREAM
from editcore.records.stored_precision import stored_precision
from editcore.records.tables import Row, write_table
from editcore.registry.registry import load_registry
from editcore.runs.finished import edits as finished_edits
from editcore.runs.finished.edits import Edit
from editcore.summary.task_choice import selected


def run(job: DownstreamJob, out: Path) -> None:
    """Score the unedited model and the chosen edited ones in every task; rows to `out`."""
    chosen = selected(finished_edits.rows(job.edits), job)
    model = load_spec(job.model, load_registry())
    _, unedited = measure_unedited(model, job.perplexity)
    lm, suite = EditedLM(model), Suite.load(job.tasks, job.limit, job.seed)
    stored = stored_precision(job.model.source, job.model.revision)
    rows = _rows(job, suite, lm, {"perplexity": unedited.perplexity.mean})
    with progress_bar(total=len(chosen), title=f"{job.model.name} downstream", unit="model") as bar:
        for edit, delta in finished_edits.with_deltas(chosen):
            with lm.edited(delta):
                rows += _rows(job, suite, lm, edit)
            bar.update()
    rows = [{**row, "stored_as": stored} for row in rows]
    write_table(out, rows, DOWNSTREAM, of_job(job, tasks=suite.versions))


def _rows(job: DownstreamJob, suite: Suite, lm: EditedLM, edit: Edit) -> list[Row]:
    """A row per task for the model, edited or not; without a case, it is the unedited one."""
    about = {name: edit.get(name) for name in ("editor", "dataset", "case_id", "perplexity")}
    chosen_for = {name: edit.get(name, False) for name in ("spread", "top")}
    return [
        {"model": job.model.name, **about, **chosen_for, **vars(score)}
        for score in suite.scores(lm)
    ]
