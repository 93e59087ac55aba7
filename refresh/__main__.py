"""Regenerates the sections of documents on a study: `python -m refresh results`."""

import sys
from pathlib import Path

import click

from editcore.errors import EditcoreError
from editcore.planning.study import listed_config
from editcore.report.data import ReportData, read
from refresh.claims import claims
from refresh.documents import write, write_first_look, write_full
from refresh.evidence import evidence
from refresh.repository import root_option


@click.command()
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--first-look",
    "part",
    flag_value="first look",
    help="RESULTS are of config/smollm2.yaml: write README.md's section on it and its figures.",
)
@click.option(
    "--full",
    "part",
    flag_value="full",
    help="RESULTS are of config/smollm2-full.yaml: write README.md's section on it.",
)
@root_option
def main(results: Path, root: Path, part: str | None) -> None:
    """Write README.md's section on the bundled models, its figure, and docs/reproduction.md.

    Sentences of the README that the study in RESULTS does not support are left out and listed; the
    exit status is then 1.
    """
    try:
        study = study_in(results)
    except EditcoreError as error:
        raise click.UsageError(str(error)) from error
    writers = {"first look": write_first_look, "full": write_full}
    for path in writers.get(part or "", write)(study, root):
        click.echo(f"written: {path}")
    made = evidence(study) if part == "full" else claims(study)
    failed = [claim.text for claim in made if not claim.holds]
    for text in failed:
        click.echo(f"no longer true, so left out: {text}", err=True)
    sys.exit(1 if failed else 0)


def study_in(results: Path) -> ReportData:
    """The study whose results are in a folder."""
    return read(results / "summary", listed_config(results / "jobs" / "study.json"))


if __name__ == "__main__":
    main()
