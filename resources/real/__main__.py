"""Writes the data files of the real world: `python -m resources.real`."""

from __future__ import annotations

import argparse
from pathlib import Path

from resources.real.build import write_real


def main() -> None:
    """Write the data files to a folder."""
    top = argparse.ArgumentParser(prog="python -m resources.real", description=__doc__)
    top.add_argument("--out", type=Path, default=Path("resources/real"))
    top.add_argument("--seed", type=int, default=1)
    args = top.parse_args()
    write_real(args.out, args.seed)


if __name__ == "__main__":
    main()
