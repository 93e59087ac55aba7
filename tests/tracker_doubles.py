"""Weights & Biases and MLflow as modules that record what they are sent, and refuse the unknown.

Their functions have names and arguments of wandb 0.31 and mlflow 3.17.
"""

import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Run:
    """What one run was sent."""

    id: str
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    ended: bool = False


@dataclass
class Tracker:
    """A module in place of a tracker's own, and the runs by project and id."""

    module: types.ModuleType
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)


@dataclass
class Table:
    columns: Sequence[str]
    data: Sequence[Sequence[Any]]


@dataclass
class Artifact:
    name: str
    type: str
    files: dict[str, bytes] = field(default_factory=dict)

    def add_file(self, local_path: str, name: str) -> None:
        self.files[name] = Path(local_path).read_bytes()


class WandbRun:
    """A run that is open until its block ends."""

    def __init__(self, run: Run, url: str | None) -> None:
        self.run, self.url = run, url

    def __enter__(self) -> "WandbRun":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.run.ended = kind is None

    def log(self, data: Mapping[str, Any]) -> None:
        self.run.metrics |= data

    def log_artifact(self, artifact_or_path: Artifact) -> None:
        self.run.files |= artifact_or_path.files


def _condition(tag: tuple[str, str]) -> str:
    """A condition of a search that runs with this tag meet."""
    name, value = tag
    return f"tags.`{name}` = '{value}'"


def wandb() -> Tracker:
    """Weights & Biases."""
    tracker = Tracker(types.ModuleType("wandb"))

    def init(
        *,
        project: str,
        id: str,
        job_type: str,
        config: dict[str, Any],
        resume: str,
    ) -> WandbRun:
        known = (project, id) in tracker.runs
        assert resume == "allow" or not known, "the run exists"
        run = tracker.runs.setdefault((project, id), Run(id))
        run.config, run.ended = config, False
        return WandbRun(run, f"wandb/{project}/{id}")

    tracker.module.__dict__.update(init=init, Table=Table, Artifact=Artifact)
    return tracker


def mlflow() -> Tracker:
    """MLflow."""
    tracker = Tracker(types.ModuleType("mlflow"))
    now: list[Run] = []
    chosen: list[str] = []

    def set_experiment(experiment_name: str) -> types.SimpleNamespace:
        chosen[:] = [experiment_name]
        return types.SimpleNamespace(experiment_id=experiment_name)

    class MlflowClient:
        def search_runs(
            self, experiment_ids: list[str], filter_string: str, max_results: int
        ) -> list[types.SimpleNamespace]:
            found = [
                run
                for (experiment, _), run in tracker.runs.items()
                if experiment in experiment_ids
                and filter_string
                in [f"tags.`{tag}` = '{value}'" for tag, value in run.tags.items()]
            ]
            infos = [types.SimpleNamespace(run_id=run.id) for run in found[:max_results]]
            return [types.SimpleNamespace(info=info) for info in infos]

    @contextmanager
    def start_run(run_id: str | None, tags: dict[str, str]) -> Iterator[types.SimpleNamespace]:
        name = run_id or f"run{len(tracker.runs)}"
        run = tracker.runs.setdefault((chosen[0], name), Run(name))
        run.tags, run.ended = tags, False
        now[:] = [run]
        yield types.SimpleNamespace(info=types.SimpleNamespace(run_id=name))
        run.ended = True

    def log_params(params: dict[str, Any]) -> None:
        before = now[0].config
        assert all(before.get(name, value) == value for name, value in params.items())
        now[0].config = {**before, **params}

    def log_metrics(metrics: dict[str, float]) -> None:
        now[0].metrics |= metrics

    def log_artifact(local_path: str, artifact_path: str | None) -> None:
        file = Path(local_path)
        now[0].files[f"{artifact_path}/{file.name}" if artifact_path else file.name] = (
            file.read_bytes()
        )

    tracker.module.__dict__.update(
        set_experiment=set_experiment,
        MlflowClient=MlflowClient,
        start_run=start_run,
        log_params=log_params,
        log_metrics=log_metrics,
        log_artifact=log_artifact,
    )
    return tracker
