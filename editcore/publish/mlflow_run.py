"""Logs a finished study as a run of MLflow."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from editcore.publish.service import library, sending
from editcore.publish.study import FinishedStudy

TAG = "editcore.study"


def log(study: FinishedStudy, experiment: str) -> str:
    """Send a study to an experiment; returns the run's id.

    The run has the study's identity as a tag, by which an interrupted one is found and resumed. The
    server is the one that the library finds in its environment. Raises `ConfigError` if the library
    is not installed, `EditcoreError` if the server refuses.
    """
    mlflow = library("mlflow")
    with sending(experiment, "check the server, which MLFLOW_TRACKING_URI names"):
        place = mlflow.set_experiment(experiment).experiment_id
        same = f"tags.`{TAG}` = '{study.identity}'"
        known = mlflow.MlflowClient().search_runs([place], filter_string=same, max_results=1)
        before = known[0].info.run_id if known else None
        with mlflow.start_run(run_id=before, tags={TAG: study.identity}) as run:
            mlflow.log_params(dict(parameters(study.config)))
            mlflow.log_metrics(study.metrics)
            for file in study.files:
                folder = file.parent.as_posix()
                mlflow.log_artifact(str(study.folder / file), None if folder == "." else folder)
            return str(run.info.run_id)


def parameters(config: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """A configuration as flat names and texts; what is empty is left out.

    >>> dict(parameters({"seed": 1, "models": {"a": {"source": "x", "layers": [1, 2]}}, "b": None}))
    {'seed': '1', 'models.a.source': 'x', 'models.a.layers': '[1, 2]'}
    """
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from parameters(value, f"{place}{name}.")
        elif value not in (None, "", []):
            yield f"{place}{name}", value if isinstance(value, str) else json.dumps(value)
