# The commands of the environment that runs Snakemake are meant, also where it is not activated.
import os
import sys
from pathlib import Path

own_commands = str(Path(sys.executable).parent)
os.environ.update(PATH=os.pathsep.join([own_commands, os.getenv("PATH", os.defpath)]))
