"""Checks and builds a release: `python -m refresh.release --check v0.2.0 --build dist`.

A release has one version: that of every distribution, of the citation, of the changelog's first
section, and of the tag. The files of two builds of one commit are equal, byte by byte.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import yaml

from refresh.repository import root_option

TAG = re.compile(r"v(\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?)")
SECTION = re.compile(r"^## +(\S+)", re.MULTILINE)
BUILD = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"


def projects(root: Path) -> list[Path]:
    """The folders of all distributions: the library, the bundled world, and each plugin."""
    return [
        root,
        root / "resources",
        *sorted(p.parent for p in root.glob("plugins/*/pyproject.toml")),
    ]


def problems(root: Path, tag: str) -> Iterator[str]:
    """What is not of the version that a tag names."""
    if (match := TAG.fullmatch(tag)) is None:
        yield f"the tag {tag} is not of the form v1.2.3 or v1.2.3rc1"
        return
    version = match[1]
    for place, found in versions(root):
        if found != version:
            yield f"{place}: {found}, not {version}"


def versions(root: Path) -> Iterator[tuple[str, str]]:
    """Every place that contains the version, and what it contains."""
    for project in projects(root):
        file = project / "pyproject.toml"
        declared = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]
        yield str(file.relative_to(root)), declared
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    yield "CITATION.cff", str(citation["version"])
    first = SECTION.search((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    yield "CHANGELOG.md, first section", first[1] if first else "none"


def build(project: Path, folder: Path) -> Path:
    """Build a project's wheel into `folder`, with the hatchling of this environment; its path.

    The times in it are `SOURCE_DATE_EPOCH`, or else hatchling's constant.
    """
    folder.mkdir(parents=True, exist_ok=True)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder.resolve())],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return folder / built.stdout.splitlines()[-1]


@click.command()
@root_option
@click.option("--check", "tag", metavar="TAG", help="Check that this tag can be released.")
@click.option(
    "--build", "folder", type=click.Path(path_type=Path, file_okay=False),
    help="Build the wheels of all distributions into this folder.",
)  # fmt: skip
def main(root: Path, tag: str | None, folder: Path | None) -> None:
    """Check the versions of a release; build its wheels."""
    if tag is not None and (found := list(problems(root, tag))):
        raise click.ClickException("\n".join([f"{tag} cannot be released:", *found]))
    if folder is not None:
        for project in projects(root):
            click.echo(build(project, folder))


if __name__ == "__main__":
    main()
