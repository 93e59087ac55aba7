# Snakemake starts at most 100 jobs a second by default. To count them, it wakes its scheduler once a
# second for each job that has ended so far: after 70 jobs, that took half a core. Another limit, which
# somebody asked for, stays.
DEFAULT_LIMIT = (100, 1)


onstart:
    limiter = getattr(workflow.scheduler, "job_rate_limiter", None)
    if limiter is not None and (limiter.max_jobs, limiter.timespan) == DEFAULT_LIMIT:
        workflow.scheduler.job_rate_limiter = None
