# What happens once, before the first job.
import os

import editcore_warm
from editcore_start import WARM

# Snakemake starts at most 100 jobs a second by default. To count them, it wakes its scheduler once a
# second for each job that has ended so far: after 70 jobs, that took half a core. Another limit, which
# somebody asked for, stays.
DEFAULT_LIMIT = (100, 1)
warm = []


def all_on_cpu():
    """Whether there is a study without graphics cards, which a forked job could not use."""
    planned = globals().get("study")
    return planned is not None and not any(map(planned.gpus, planned.config.models))


onstart:
    limiter = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == DEFAULT_LIMIT:
        workflow.scheduler.job_rate_limiter = None
    # Jobs on this machine need not load torch and transformers one by one. `EDITCORE_WARM=no` turns it off.
    here = workflow.is_main_process and workflow.local_exec and all_on_cpu()
    if here and WARM not in os.environ and (started := editcore_warm.start()):
        os.environ[WARM] = started.path
        warm.append(started)
