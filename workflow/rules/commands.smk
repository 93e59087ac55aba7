# The commands of the environment that runs Snakemake are meant, also where it is not activated.
import os
import sys
from pathlib import Path

own_commands = str(Path(sys.executable).parent)
os.environ.update(PATH=os.pathsep.join([own_commands, os.getenv("PATH", os.defpath)]))

# glibc gives memory above these sizes back at once, and gets it anew, page by page, for each tensor.
kept = {"MALLOC_MMAP_THRESHOLD_": 2**28, "MALLOC_TRIM_THRESHOLD_": 2**30}
os.environ.update({name: os.getenv(name, str(size)) for name, size in kept.items()})
