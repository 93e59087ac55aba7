"""The report of a study: figures as SVG files, and one HTML page that contains them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from editcore.config.study import StudyConfig


def write_report(summary_dir: Path, figures_dir: Path, page: Path, config: "StudyConfig") -> None:
    """Draw the figures of the summary in `summary_dir`, and write the page.

    It includes the papers' tables and figures if the study asks for them (`report.papers`). Raises
    `DataError` if the summary is missing or not a summary.
    """
    from editcore.report.data import read
    from editcore.report.drawing.figures import draw_all, draw_sections
    from editcore.report.page.first_screen import first_screen
    from editcore.report.page.page import write
    from editcore.report.sections import sections

    study = read(summary_dir, config)
    found = sections(study)
    if config.report.papers:
        from editcore.report.papers import comparison

        found += filter(None, [comparison.section(study)])
    first = first_screen(study, found)
    draw_all(study, figures_dir)
    write(page, study, first, found, draw_sections([first, *found], figures_dir))
