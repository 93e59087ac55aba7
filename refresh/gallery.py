"""Takes pictures of reports for docs/gallery.md: `python -m refresh.gallery NAME=RESULTS …`."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
from PIL import Image

from refresh.repository import root_option

PAGE, FOLDER = Path("docs/gallery.md"), Path("docs/gallery")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1400, 1000  # of the window
SHOWN = (980, 700)  # the size of a picture
HEAD = """\
# A gallery of reports

A study ends with `results/report.html`, one page that needs no network. These are the first screens
of some reports, each with the command that makes it.
"""


@dataclass(frozen=True)
class Study:
    """A study whose report is shown."""

    name: str
    title: str
    command: str
    about: str


def _configured(name: str, title: str, about: str) -> Study:
    return Study(name, title, f"snakemake --configfile config/{name}.yaml", about)


STUDIES = (
    Study(
        "default",
        "The default study",
        "python3 bootstrap.py study",
        "Two bundled models, five editors, 64 facts: single edits, sequences, tasks and the "
        "mechanism; some minutes on two cores.",
    ),
    Study(
        "smollm2",
        "A real model",
        "python3 bootstrap.py study --configfile config/smollm2.yaml",
        "SmolLM2-135M-Instruct, two editors, 80 facts: half an hour.",
    ),
    _configured(
        "smollm2-chat",
        "Edits through a chat",
        "20 facts edited in SmolLM2-135M-Instruct twice, by bare prompts and through its chat.",
    ),
    _configured(
        "smollm2-answers",
        "What edited models answer",
        "The same model asked freely after 60 edits by each of six editors.",
    ),
    _configured(
        "streams",
        "Long sequences",
        "Up to 2,000 sequential edits of the bundled models by nine editors: an hour.",
    ),
)


def picture(report: Path, file: Path) -> None:
    """Write the first screen of a report as a small picture.

    Raises `click.UsageError` if there is no browser or no report.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise click.UsageError("no Chromium is installed; on Debian: apt install chromium")
    if not report.is_file():
        raise click.UsageError(f"{report}: there is no report; give the folder of a finished study")
    with tempfile.TemporaryDirectory() as folder:
        screen = Path(folder) / "screen.png"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        window = [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={screen}"]
        profile = f"--user-data-dir={folder}/profile"
        command = [browser, *options, *window, profile, report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(screen) as image:
            image.convert("RGB").resize(SHOWN, Image.Resampling.LANCZOS).save(file, quality=80)


def page(root: Path) -> str:
    """The page, with the studies of which there is a picture."""
    shown = [study for study in STUDIES if (root / _file(study.name)).is_file()]
    return "\n".join([HEAD, *map(_entry, shown)])


def _file(name: str) -> Path:
    return FOLDER / f"{name}.webp"


def _entry(study: Study) -> str:
    image = _file(study.name).relative_to(PAGE.parent)
    shown = f"![The first screen of the report: {study.title.lower()}]({image})"
    return f"## {study.title}\n\n{study.about}\n\n```sh\n{study.command}\n```\n\n{shown}\n"


@click.command(help=__doc__)
@click.argument("studies", nargs=-1, metavar="NAME=RESULTS...")
@root_option
def main(studies: tuple[str, ...], root: Path) -> None:
    """Take a picture of each report, and write the page."""
    names = [study.name for study in STUDIES]
    for study in studies:
        name, _, results = study.partition("=")
        if name not in names or not results:
            raise click.UsageError(f"{study}: give NAME=RESULTS with one of {', '.join(names)}")
        picture(Path(results) / "report.html", root / _file(name))
    (root / PAGE).write_text(page(root), encoding="utf-8")


if __name__ == "__main__":
    main()
