"""The page of reports is made from its pictures, which are small and of studies that exist."""

from pathlib import Path

import click
import pytest
from PIL import Image

from refresh.gallery import FOLDER, PAGE, SHOWN, STUDIES, page, picture
from tests.docs.pages import ROOT
from tests.report.browser import program

MOST_BYTES = 400_000


def test_the_page_is_made_from_the_pictures() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(ROOT), (
        "renew it: python -m refresh.gallery"
    )
    pictures = [*(ROOT / FOLDER).iterdir()]
    assert {file.stem for file in pictures} <= {study.name for study in STUDIES}
    assert 0 < sum(file.stat().st_size for file in pictures) < MOST_BYTES


def test_the_studies_have_configurations() -> None:
    files = [study.command.split()[-1] for study in STUDIES if "--configfile" in study.command]
    assert len(files) == len(STUDIES) - 1
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.skipif(program() is None, reason="no Chromium")
def test_a_picture_is_of_the_first_screen(tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    report.write_text("<body style='margin:0'><p style='background:#f00;height:2000px;margin:0'>")
    picture(report, tmp_path / "made" / "red.webp")
    with Image.open(tmp_path / "made" / "red.webp") as image:
        assert image.size == SHOWN
        red, green, blue = image.convert("RGB").getpixel((SHOWN[0] - 1, SHOWN[1] - 1))
    assert red > 240
    assert green + blue < 20
    with pytest.raises(click.UsageError, match="there is no report"):
        picture(tmp_path / "none.html", tmp_path / "none.webp")
