"""The section that puts the results of the two papers next to a study's own."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from editcore.numbers import MISSING, listed, plural
from editcore.report.data import ReportData
from editcore.report.papers import published_figures
from editcore.report.papers.ours import OURS
from editcore.report.papers.published import compared, content
from editcore.report.section import Drawing, PageSection, Part
from editcore.report.tables import Table

# Figures drawn from published points, shown if the study has results next to the table of the name.
FIGURES: Mapping[str, Callable[[], list[Drawing]]] = MappingProxyType(
    {
        "pilot": published_figures.pilot,
        "surrogate": published_figures.surrogate,
        "sequences": published_figures.sequences,
    }
)
OURS_OF, PUBLISHED_OF = "ours: ", "published: "


def section(study: ReportData) -> PageSection | None:
    """All published quantities that the study also has; None if it has none of them."""
    tables = {
        entry["what"]: table
        for name, entry in content()["tables"].items()
        if name in OURS and (table := compared(study, name))
    }
    if not tables:
        return None
    models = [
        model for model in study.models if any(_ours(model) in t.heads for t in tables.values())
    ]
    rows = tuple(row for what, table in tables.items() for row in _rows(what, table, models))
    drawings = [
        each
        for name, make in FIGURES.items()
        if content()["tables"][name]["what"] in tables
        for each in make()
    ]
    sources = listed([*content()["sources"].values()])
    return PageSection(
        anchor="papers",
        title="Next to published results",
        part=Part.RUN,
        point=(
            f"{plural(len(rows), 'result')} that the two papers published can be compared with "
            "this study’s own."
        ),
        paragraphs=(
            f"Published: {sources}. {content()['read']} {content()['scale']} "
            "docs/reproduction.md says where definitions differ.",
        ),
        drawings=tuple(drawings),
        tables=(
            Table(
                "Each published quantity next to the study’s own.",
                ("published as", "quantity", *models, "published"),
                rows,
                2,
            ),
        ),
    )


def _ours(model: str) -> str:
    return f"{OURS_OF}{model}"


def _rows(what: str, table: Table, models: list[str]) -> Iterator[tuple[str, ...]]:
    """A table's rows, with all labels in one cell and all published values in another."""
    for row in table.rows:
        cells = dict(zip(table.heads[table.labels :], row[table.labels :], strict=True))
        published = [
            f"{head.removeprefix(PUBLISHED_OF)}: {cell}"
            for head, cell in cells.items()
            if head.startswith(PUBLISHED_OF)
        ]
        label = ", ".join(filter(None, row[: table.labels]))
        ours = (cells.get(_ours(model), MISSING) for model in models)
        yield what, label, *ours, "; ".join(published)
