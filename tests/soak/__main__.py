"""Runs tests too long for the suite: `python -m tests.soak study`, `… stream`, …."""

import argparse
import sys

from tests.soak import files, fuzz, stream, study

PARTS = {"study": study, "stream": stream, "files": files, "fuzz": fuzz}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    commands = parser.add_subparsers(dest="part", required=True)
    for name, part in PARTS.items():
        summary = (part.__doc__ or "").splitlines()[0]
        part.arguments(commands.add_parser(name, help=summary, description=summary))
    given = parser.parse_args()
    return PARTS[given.part].main(given)


if __name__ == "__main__":
    sys.exit(main())
