"""Logs a finished study as a run of Weights & Biases."""

from editcore.publish.service import library, sending
from editcore.publish.study import FinishedStudy


def log(study: FinishedStudy, project: str) -> str:
    """Send a study to a project; returns the run's address, empty in offline mode.

    The run's id is the study's identity, so a run that was interrupted is resumed. Login, mode and
    server are those that the library finds in its environment. Raises `ConfigError` if the library
    is not installed, `EditcoreError` if the service refuses.
    """
    wandb = library("wandb")
    with sending(project, "log in with `wandb login`, or set WANDB_MODE=offline"):
        started = wandb.init(
            project=project,
            id=study.identity,
            job_type="study",
            config=dict(study.config),
            resume="allow",
        )
        with started as run:
            columns = list(study.groups[0])
            rows = [list(group.values()) for group in study.groups]
            run.log({**study.metrics, "verdicts": wandb.Table(columns=columns, data=rows)})
            results = wandb.Artifact(name=f"results-{study.identity}", type="results")
            for file in study.files:
                results.add_file(str(study.folder / file), name=file.as_posix())
            run.log_artifact(results)
            return str(run.url or "")
