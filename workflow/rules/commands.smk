# Jobs use the commands of the environment that Snakemake runs in, even if it is not activated.
import os
import sys
from pathlib import Path

own_commands = str(Path(sys.executable).parent)
os.environ.update(PATH=os.pathsep.join([own_commands, os.getenv("PATH", os.defpath)]))

# By default glibc returns large blocks to the system at once, so each new tensor faults its pages in
# again. These settings keep the blocks; huge pages reduce the number of faults.
tunables = {"mmap_threshold": 2**28, "trim_threshold": 2**30, "hugetlb": 1}
os.environ.setdefault(
    "GLIBC_TUNABLES", ":".join(f"glibc.malloc.{name}={value}" for name, value in tunables.items())
)
