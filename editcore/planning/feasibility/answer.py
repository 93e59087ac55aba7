"""Can this study run here? Yes or no, with its time, memory, disk, devices and downloads."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from editcore.numbers import duration, plural, storage
from editcore.planning import devices
from editcore.planning.feasibility.machine import free_disk, free_memory, processors
from editcore.planning.feasibility.model_size import model_size
from editcore.planning.feasibility.seconds import ERROR_FACTOR, job_seconds, study_seconds
from editcore.planning.feasibility.speed import measured_speed
from editcore.planning.feasibility.storage import job_memory, results_disk
from editcore.planning.feasibility.work import study_work
from editcore.planning.paths import RESULTS
from editcore.planning.study import Study


@dataclass(frozen=True)
class Answer:
    """Whether a study can run on this machine, and what it takes; None is what is not known.

    `problems` are the reasons why it cannot, `notes` what should be known, `downloads` what it
    fetches first. Times are seconds, sizes bytes, those of memory of one job.
    """

    problems: tuple[str, ...]
    notes: tuple[str, ...]
    downloads: tuple[str, ...]
    jobs: int
    cores: int
    seconds: int | None = None
    job_memory: int | None = None
    free_memory: int | None = None
    disk: int | None = None
    free_disk: int | None = None
    devices: tuple[str, ...] = ()

    @property
    def yes(self) -> bool:
        """Whether it can run."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {"can_run": self.yes, **asdict(self)}

    def lines(self) -> list[str]:
        """All of it in words; the first line begins with Yes or No."""
        first = "Yes: this study can run here" if self.yes else "No: this study cannot run here"
        if self.yes and self.downloads:
            first += f", after {plural(len(self.downloads), 'download')}"
        lines = [first, *(f"  problem: {problem}" for problem in self.problems)]
        lines.append(f"  time: {self._time()}")
        lines.append(f"  memory: {self._memory()}")
        if self.disk is not None:
            lines.append(
                f"  disk: at most {storage(self.disk)} of results, {storage(self.free_disk)} free"
            )
        lines.append(f"  device: {', '.join(self.devices)}")
        lines += [f"  download: {file}" for file in self.downloads]
        return lines + [f"  note: {note.removeprefix('note: ')}" for note in self.notes]

    def _time(self) -> str:
        if self.seconds is None:
            return "not known; models on a GPU or not downloaded yet are not estimated"
        return (
            f"about {duration(self.seconds)} on {plural(self.cores, 'core')}, right within "
            f"a factor of {ERROR_FACTOR:g}; {plural(self.jobs, 'job')} with a model"
        )

    def _memory(self) -> str:
        if self.job_memory is None:
            return "not known before the models are downloaded"
        free = f"; {storage(self.free_memory)} free" if self.free_memory is not None else ""
        return f"about {storage(self.job_memory)} for each of {self.cores} jobs at once{free}"


def answer(study: Study, cores: int, downloads: Sequence[str], notes: Iterable[str]) -> Answer:
    """The answer for a planned study with `cores` jobs at once; measures speed for 0.2 seconds."""
    models = {name: job.model for name, job in study.prefixes.items()}
    sizes = {name: size for name, spec in models.items() if (size := model_size(spec))}
    work = study_work(study)
    gpu = any(study.gpus(name) for name in models)
    seconds = None
    if sizes.keys() == models.keys() and not gpu:
        speed = measured_speed()
        times = [job_seconds(job, sizes[job.model].weight_bytes, speed) for job in work]
        seconds = round(study_seconds(times, min(cores, processors())))
    on_cpu = [job_memory(size) for name, size in sizes.items() if not study.gpus(name)]
    memory, free = max(on_cpu, default=None), free_memory()
    disk, space = results_disk(study, sizes), free_disk(RESULTS)
    problems = [f"{place}: {why}" for place, why in devices.missing(models.values())]
    if memory is not None and free is not None and memory * cores > free:
        fit = free // memory
        remedy = f"give --cores {fit}" if fit else "use a machine with more memory"
        problems.append(
            f"{cores} jobs at once need about {storage(memory * cores)} of memory, and "
            f"{storage(free)} are free; {remedy}"
        )
    if disk > space:
        problems.append(
            f"the results may take {storage(disk)}, and {storage(space)} are free in "
            f"{Path.cwd()}; free some, or run the study in another folder"
        )
    return Answer(
        problems=tuple(problems),
        notes=tuple(notes),
        downloads=tuple(downloads),
        jobs=len(work),
        cores=cores,
        seconds=seconds,
        job_memory=memory,
        free_memory=free,
        disk=disk,
        free_disk=space,
        devices=tuple(f"{name} on {spec.device}" for name, spec in models.items()),
    )


def not_yet(why: str, downloads: Sequence[str], cores: int) -> Answer:
    """The answer for a study that cannot be planned before something is downloaded."""
    return Answer((why,), (), tuple(downloads), jobs=0, cores=cores)
