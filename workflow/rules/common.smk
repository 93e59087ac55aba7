# Plans the study once; the rules get their files from `study`.
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from editcore.cli.steps import say
from editcore.config.section import LABEL_PATTERN
from editcore.config.study import read_yaml
from editcore.config.study import parse as parse_study
from editcore.errors import EditcoreError
from editcore.planning import planner
from editcore.runs import fetch
from editcore.sources.wheel_file import Unfetched

config_files = ", ".join(map(str, workflow.configfiles)) or "--config"

try:
    # Snakemake has read these files already, but it silently keeps the last of duplicate keys.
    for config_file in workflow.configfiles if workflow.is_main_process else ():
        read_yaml(Path(config_file))
    try:
        study = planner.plan_mapping(config, config_files)
    except Unfetched:
        # Checking a model and selecting its cases needs files that are not on this machine yet.
        # Snakemake knows whether this is a dry run only after it has read this file.
        dry = any(re.fullmatch(r"--dry-?run|-[A-Za-z]*n[A-Za-z]*", given) for given in sys.argv)
        if dry or not workflow.is_main_process:
            raise
        if "fetch" in sys.argv:
            os.environ.update(HF_HUB_OFFLINE="0")
        fetch.run(parse_study(config, config_files), Path("results/fetched.json"), say)
        study = planner.plan_mapping(config, config_files)
    # Each cluster job evaluates this file again, and must not change files that others read.
    if workflow.is_main_process:
        study.write()
        for note in study.notes:
            print(note, file=sys.stderr)
except EditcoreError as error:
    raise WorkflowError(f"\n{error}\n") from None

# Once everything is downloaded, no job should wait for a network; jobs on other nodes test this too.
if fetch.covers(study.config, Path("results/fetched.json")):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


wildcard_constraints:
    model=LABEL_PATTERN,
    editor=LABEL_PATTERN,
    dataset=LABEL_PATTERN,
    digest=r"[0-9a-f]{8}",
    shard=r"\d+",
    order=r"\d+",
