# Plans the study once; the rules get their files from `study`. It is None only in a dry run of
# `fetch` before the first download.
import os
import sys
from pathlib import Path

from snakemake.cli import get_argument_parser
from snakemake.exceptions import WorkflowError

from editcore.cli.steps import say
from editcore.config.section import LABEL_PATTERN
from editcore.config.study import read_yaml
from editcore.config.study import parse as parse_study
from editcore.errors import EditcoreError, Unfetched
from editcore.planning import planner
from editcore.runs import fetch

config_files = ", ".join(map(str, workflow.configfiles)) or "--config"


def arguments():
    """Snakemake's own arguments, which it evaluates only after it has read this file."""
    return get_argument_parser().parse_known_args(sys.argv[1:])[0]


try:
    # Snakemake has read these files already, but it silently keeps the last of duplicate keys.
    for config_file in workflow.configfiles if workflow.is_main_process else ():
        read_yaml(Path(config_file))
    study_config = parse_study(config, config_files)
    fetching = workflow.is_main_process and "fetch" in sys.argv
    only_listed = fetching and (given := arguments()).dryrun and [*given.targets] == ["fetch"]
    for line in fetch.missing(study_config) if only_listed else ():
        say(f"not here yet: {line}")
    try:
        study = planner.plan(study_config, config_files)
    except Unfetched:
        # Checking a model and selecting its cases needs files that are not on this machine yet.
        if only_listed:
            study = None
        elif not workflow.is_main_process or arguments().dryrun:
            raise
        else:
            if fetching:
                os.environ.update(HF_HUB_OFFLINE="0")
            fetch.run(study_config, Path("results/fetched.json"), say)
            study = planner.plan(study_config, config_files)
    # Each cluster job evaluates this file again, and must not change files that others read.
    if workflow.is_main_process and study is not None:
        study.write()
        for note in study.notes:
            print(note, file=sys.stderr)
except EditcoreError as error:
    raise WorkflowError(f"\n{error}\n") from None

# Once everything is downloaded, no job should wait for a network; jobs on other nodes test this too.
if fetch.covers(study_config, Path("results/fetched.json")):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


wildcard_constraints:
    model=LABEL_PATTERN,
    editor=LABEL_PATTERN,
    dataset=LABEL_PATTERN,
    digest=r"[0-9a-f]{8}",
    shard=r"\d+",
    order=r"\d+(-clustered|-dispersed)?(-batch-\d+)?",
