"""The time that a study takes here, from its operations and the speed of this machine."""

from collections.abc import Sequence
from types import MappingProxyType

from editcore.planning.feasibility.work import JobWork

# For each rule, operations a second as a multiple of `speed.measured_speed`. Fitted on the default
# study (two models of 2 million parameters, one thread a job) beside other work, then all raised by
# 1.4 to be between that run and the same on an idle machine. More than 1 means that work which is
# counted is often not done: searches end early, and sequences stop at a collapse.
SHARES = MappingProxyType(
    {
        "prefixes": 0.03,
        "rounding": 0.3,
        "texts": 0.07,
        "moments": 0.35,
        "values": 2.6,
        "edit": 0.5,
        "sequence": 2.1,
        "downstream": 1.3,
        "survive": 0.24,
        "layers": 0.5,
        "mechanism": 0.32,
    }
)
# What each job takes in addition: to start, and to read a gigabyte of weights.
START_SECONDS, GIGABYTE_SECONDS = 1.2, 20.0
# The processor time of five finished studies, of models of 2 to 135 million parameters, was within
# a factor of 1.4 of the estimate; all of them were seen when the shares were raised. Other programs
# at work make the time longer.
ERROR_FACTOR = 2.0


def job_seconds(job: JobWork, weight_bytes: float, speed: float) -> float:
    """The seconds of one job on one processor; `speed` is in operations a second."""
    start = START_SECONDS + GIGABYTE_SECONDS * weight_bytes / 1e9
    return start + job.operations / (speed * SHARES[job.rule])


def study_seconds(jobs: Sequence[float], cores: int) -> float:
    """The seconds of a study whose jobs take this long, on that many processors.

    >>> study_seconds([10, 10, 50], cores=2), study_seconds([10, 10, 10], cores=2)
    (50, 15.0)
    """
    return max([sum(jobs) / cores, *jobs, 0])
