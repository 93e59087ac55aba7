# Resolves the study once: each rule asks `study` for its files.
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from editcore.config.study import LABEL_PATTERN, read_yaml
from editcore.errors import EditcoreError
from editcore.planning import hard_cases, planner
from editcore.runs import fetch

config_files = ", ".join(map(str, workflow.configfiles)) or "--config"

try:
    # Snakemake has read these files, but of a key that is given twice it keeps the last; this refuses.
    for config_file in workflow.configfiles if workflow.is_main_process else ():
        read_yaml(Path(config_file))
    try:
        study = planner.plan_mapping(config, config_files)
    except hard_cases.TokenizerMissing:
        # Cases are chosen by tokenizers, and fetching is what brings them here.
        if "fetch" not in sys.argv:
            raise
        study = planner.plan_mapping(hard_cases.before_fetching(config), config_files)
    # A job of a cluster evaluates this file again, and must not touch files that others read.
    if workflow.is_main_process:
        study.write()
except EditcoreError as error:
    raise WorkflowError(f"\n{error}\n") from None

# Everything has been fetched, so no job should wait for a network; jobs on other nodes check it too.
if fetch.covers(study.config, Path("results/fetched.json")):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


wildcard_constraints:
    model=LABEL_PATTERN,
    editor=LABEL_PATTERN,
    dataset=LABEL_PATTERN,
    digest=r"[0-9a-f]{8}",
    shard=r"\d+",
    order=r"\d+",
