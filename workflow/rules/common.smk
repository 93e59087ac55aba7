# Resolves the study once: each rule asks `study` for its files.
import os
from pathlib import Path

from snakemake.exceptions import WorkflowError

from editcore.config.study import LABEL_PATTERN, read_yaml
from editcore.errors import EditcoreError
from editcore.planning import planner
from editcore.runs import fetch

config_files = ", ".join(map(str, workflow.configfiles)) or "--config"

try:
    # Snakemake has read these files already, and of a key that stands twice it kept the last.
    for config_file in workflow.configfiles:
        read_yaml(Path(config_file))
    study = planner.plan_mapping(config, config_files)
    study.write()
except EditcoreError as error:
    raise WorkflowError(f"\n{error}\n") from None

# All is here, so no job should wait for a network; those on other nodes read this file as well.
if fetch.covers(study.config, Path("results/fetched.json")):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


wildcard_constraints:
    model=LABEL_PATTERN,
    editor=LABEL_PATTERN,
    dataset=LABEL_PATTERN,
    digest=r"[0-9a-f]{8}",
    shard=r"\d+",
    order=r"\d+",
