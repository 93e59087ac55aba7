"""The pages of the site: which file or part of README.md each is made from, and its section.

Every page of docs/ belongs to one section; a new one is added here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

INDEX = "index"
README = "README.md"


@dataclass(frozen=True)
class Page:
    """One page: its name in the site, the file that it is made from, and what it is about.

    `source` is `README.md#TITLE` for a part of README.md. `about` is empty if README.md's table
    of pages describes the file, and `title` if the page's own title is clear among others.
    """

    name: str
    source: str
    about: str = ""
    title: str = ""


@dataclass(frozen=True)
class Section:
    """Pages that answer the same kind of question."""

    name: str
    title: str
    about: str
    pages: tuple[Page, ...]


def _document(name: str, about: str = "") -> Page:
    return Page(name, f"docs/{name}.md", about)


def _part(name: str, title: str, about: str) -> Page:
    return Page(name, f"{README}#{title}", about)


def _notebook(name: str, about: str) -> Page:
    return Page(f"tutorials/{name}", f"docs/tutorials/{name}.ipynb", about)


def _card(model: str) -> Page:
    return Page(model, f"resources/models/{model}/{README}", "the card of a bundled model")


# Made from the code while the site is built; in the repository, docs/toolkit.md is the short form.
OPTIONS = Page("options", "editcore/config/study.py", "every key of a study, and of each editor")
API = Page("toolkit", "docs/toolkit.md", title="Python API")

SECTIONS = (
    Section(
        "tutorials",
        "Tutorials",
        "Begin here: one edit in the shell, then three notebooks, each of which runs in a minute.",
        (
            _part("one-edit", "One edit, one verdict", "one edit in the shell, and its verdict"),
            _notebook("one-edit", "why ROME's edit collapses a model, and what C-ROME changes"),
            _notebook("your-own-editor", "an editor as a class in a notebook, tried at once"),
            _notebook("a-stream", "one edit after another, until the model collapses"),
        ),
    ),
    Section(
        "guides",
        "Guides",
        "How to do one thing.",
        (
            _part(
                "your-own",
                "Your own model, facts, editor",
                "a study of your own model, facts or editor",
            ),
            Page("configuring", "config/README.md", "each key of a study, and what it is for"),
            _document("installing", "editcore without a checkout, from wheels"),
            _document("report"),
            _document("comparing"),
            _document("python"),
            _document("shipping"),
            _document("ledger"),
            _document("measuring"),
            _document("pipelines"),
            _document("cluster"),
            _part("papers-models", "The papers' models", "GPT-2 XL, GPT-J and Llama 2"),
            _document("writing-an-editor"),
            Page(
                "example-plugin",
                "tests/plugin_package/README.md",
                "an editor, a metric, a model family and a format in one package",
            ),
            _document("gotchas"),
        ),
    ),
    Section(
        "reference",
        "Reference",
        "What each command, key, column, error and name is; most of it is made from the code.",
        (
            _document("commands"),
            OPTIONS,
            Page(
                "columns",
                "results/README.md",
                "every table of a study, and its columns",
                title="Tables and columns",
            ),
            _document("errors"),
            API,
            _document("glossary"),
            Page("world", "resources/README.md"),
            _card("tiny-gpt2"),
            _card("tiny-llama"),
        ),
    ),
    Section(
        "evidence",
        "Evidence",
        "What was measured: why edits collapse models, and how well it is foretold.",
        (
            _document("papers"),
            _part("why", "Why an edit collapses a model", "the same in short, and all editors"),
            _part("real-model", "A real model, in one command", "SmolLM2-135M: a first look"),
            _part("results", "What the bundled models show", "the bundled models: all results"),
            _document("reproduction"),
            _document("gallery"),
            _document("warning"),
            _document("arena"),
            _document("streams"),
            _document("depth"),
            _document("answers"),
            _document("performance", "how fast edits are, compared with the reference"),
            _document("reliability"),
            _part("comparison", "Comparison with other toolkits", "what others have, and lack"),
        ),
    ),
    Section(
        "project",
        "Project",
        "How editcore is built, what changed, and how to contribute and cite.",
        (
            _document("design"),
            Page("contributing", "CONTRIBUTING.md"),
            Page("changelog", "CHANGELOG.md", "what changed in each version"),
            _part("citation", "Citation", "the papers to cite"),
            _part("licence", "Licence", "Apache-2.0"),
        ),
    ),
)
# Parts of README.md that are on the first page, and the table that describes the other pages.
FIRST = ("", "Two commands")
FIGURE = "What the bundled models show"  # the part whose figure is on the first page, too
TABLE = "Where to look"


def pages() -> Iterator[Page]:
    """All pages but the first one and those of the sections."""
    for section in SECTIONS:
        yield from section.pages
