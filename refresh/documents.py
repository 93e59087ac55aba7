"""The documents that contain numbers: their templates, and the files rendered from them."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from editcore.atomic import write_text
from editcore.numbers import number, share
from editcore.records.model_schemas import LAYERS
from editcore.report.data import ReportData
from editcore.report.drawing.figures import save
from editcore.report.drawing.style import drawing
from editcore.report.papers.ours import OURS
from editcore.report.papers.published import compared, published
from editcore.report.sections import layers
from editcore.report.tables import Table
from refresh.claims import claims
from refresh.evidence import evidence
from refresh.figure import draw

REPRODUCTION = Path("docs/reproduction.md")
FIGURE = Path("docs/collapse.svg")
README = Path("README.md")
START, END = "<!-- python -m refresh writes from here -->", "<!-- to here -->"
FIRST_LOOK = (
    "<!-- python -m refresh --first-look writes from here -->",
    "<!-- the first look ends here -->",
)
FULL = (
    "<!-- python -m refresh --full writes from here -->",
    "<!-- the full study ends here -->",
)
FIRST_FIGURE, LAYERS_FIGURE = Path("docs/smollm2.svg"), Path("docs/smollm2-layers.svg")


def write(study: ReportData, root: Path) -> list[Path]:
    """Write all three documents in `root`; returns their paths."""
    texts = {
        REPRODUCTION: reproduction(lambda name: markdown(shown(study, name))),
        README: between((root / README).read_text(encoding="utf-8"), summary(study)),
    }
    for path, text in texts.items():
        write_text(root / path, text)
    with drawing():
        save(draw(study), root / FIGURE)
    return [*texts, FIGURE]


def write_first_look(study: ReportData, root: Path) -> list[Path]:
    """Write the README's section on a real model, and its figures; the paths written."""
    text = _summary("first_look.md.jinja", study)
    readme = (root / README).read_text(encoding="utf-8")
    write_text(root / README, between(readme, text, *FIRST_LOOK))
    with drawing():
        save(draw(study), root / FIRST_FIGURE)
        written = [README, FIRST_FIGURE]
        if (rows := study.table("layers", LAYERS)) is not None:
            save(layers.draw(study, layers.by_layer(rows)), root / LAYERS_FIGURE)
            written.append(LAYERS_FIGURE)
    return written


def write_full(study: ReportData, root: Path) -> list[Path]:
    """Write the README's section on the full study of a real model; the path written."""
    text = _render(
        "full_study.md.jinja",
        table=markdown(verdicts(study)),
        claims=[claim.text for claim in evidence(study) if claim.holds],
    )
    readme = (root / README).read_text(encoding="utf-8")
    write_text(root / README, between(readme, text, *FULL))
    return [README]


def reproduction(table: Callable[[str], str]) -> str:
    """The page on the papers; `table` returns the text of the table of a name."""
    return _render("reproduction.md.jinja", table=table)


def summary(study: ReportData) -> str:
    """The README's section on the bundled models."""
    return _summary("results.md.jinja", study)


def _summary(template: str, study: ReportData) -> str:
    return _render(
        template,
        table=markdown(verdicts(study)),
        claims=[claim.text for claim in claims(study) if claim.holds],
        threshold=number(study.collapse.ratio),
    )


def between(text: str, part: str, start: str = START, end: str = END) -> str:
    r"""The text with `part` between the two markers.

    >>> print(between(f"a\n{START}\nold\n{END}\nb", "new\n").replace("python -m ", ""))
    a
    <!-- refresh writes from here -->
    <BLANKLINE>
    new
    <BLANKLINE>
    <!-- to here -->
    b
    """
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n\n{part.strip()}\n\n{end}{after}"


def shown(study: ReportData, name: str) -> Table:
    """The published table with our numbers in it, or without them if the study has none."""
    table = compared(study, name) if name in OURS else None
    return table or published(name)


def verdicts(study: ReportData) -> Table:
    """The README's table: every editor on every model and data set."""
    rows = [
        (
            f"`{row['model']}`",
            f"`{row['editor']}`",
            row["dataset"],
            f"{row['n_collapsed']:,} of {row['n_ok']:,}",
            number(row["ratio_median"]),
            number(row["ratio_max"]),
            *(
                share(row[f"{metric}_mean"])
                for metric in ("efficacy", "efficacy_prefixed", "generalization", "locality")
            ),
        )
        for row in study.groups()
    ]
    heads = (
        *("model", "editor", "cases", "collapsed", "perplexity ratio, median", "worst"),
        *("efficacy", "after a prefix", "generalization", "locality"),
    )
    return Table("", heads, tuple(rows))


def markdown(table: Table) -> str:
    r"""The table as Markdown, without its caption.

    >>> print(markdown(Table("", ("a", "n"), (("x | y", "1"),), 1)))
    | a | n |
    |---|--:|
    | x \| y | 1 |
    """
    aligned = ["---" if place < table.labels else "--:" for place in range(len(table.heads))]
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in table.rows]
    heads = " | ".join(head.replace("|", "\\|") for head in table.heads)
    return "\n".join([f"| {heads} |", f"|{'|'.join(aligned)}|", *(f"| {line} |" for line in lines)])


def _render(template: str, **content: object) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(content)
