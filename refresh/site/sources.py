"""Writes the pages as Sphinx reads them: under their names in the site, with links between them."""

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from editcore.errors import EditcoreError
from refresh.site import api, notebooks, options
from refresh.site.markdown import anchor, parts, raised, relinked
from refresh.site.pages import (
    API,
    FIGURE,
    FIRST,
    INDEX,
    OPTIONS,
    README,
    SECTIONS,
    TABLE,
    Page,
    Section,
    pages,
)
from refresh.site.terms import GLOSSARY, anchored

FILES = "files"  # the folder of the site for files that are no pages
IMAGE = re.compile(r"^!\[.*\)$", re.MULTILINE)
# A link whose text is the name of a file; without a text, the page's title is shown.
NAMED = re.compile(r"(?<!!)\[[\w/-]+\.md\]\(")
ROW = re.compile(r"^\| \[[^\]]*\]\(([^)]+)\) \| (.+) \|$", re.MULTILINE)


class SiteError(EditcoreError):
    """The pages of the repository and those of the site do not agree."""


@dataclass(frozen=True)
class Sources:
    """The repository's pages, and the folder that Sphinx reads."""

    root: Path
    folder: Path

    def write(self) -> None:
        """Write every page, and the files that pages link to."""
        self._check()
        self._write(INDEX, Path(README), self._first())
        for section in SECTIONS:
            self._write(section.name, Path(README), self._section(section))
        for page in pages():
            self._write(page.name, Path(page.source.partition("#")[0]), self._text(page))

    def _check(self) -> None:
        """Raise `SiteError` for a page or a part of README.md without a section or description."""
        documents = {
            file.relative_to(self.root).as_posix()
            for pattern in ("*.md", "tutorials/*.ipynb")
            for file in (self.root / "docs").glob(pattern)
        }
        titles = {f"{README}#{title}" for title in {*self._readme} - {*FIRST, TABLE}}
        if lost := sorted((documents | titles) - {page.source for page in pages()}):
            raise SiteError(
                f"{', '.join(lost)}: in no section of the site; add it to refresh/site/pages.py"
            )
        silent = (page.source for page in pages() if not page.about)
        if lost := sorted({*silent} - {*self._described}):
            raise SiteError(f"{', '.join(lost)}: describe it in README.md, in “{TABLE}”")

    @property
    def _readme(self) -> dict[str, str]:
        return parts((self.root / README).read_text(encoding="utf-8"))

    @property
    def _described(self) -> Mapping[str, str]:
        """What README.md's table writes about pages, by their files."""
        return dict(ROW.findall(self._readme[TABLE]))

    def _first(self) -> str:
        """The beginning of README.md with the figure of a later part, then the sections."""
        before, *others = (self._readme[title] for title in FIRST)
        figure = IMAGE.search(self._readme[FIGURE])
        shown = "".join(
            f"## {title}\n{text}" for title, text in zip(FIRST[1:], others, strict=True)
        )
        about = [f"- **[{each.title}](/{each.name})**<br>{each.about}" for each in SECTIONS]
        lines = [before, figure[0] if figure else "", "", shown, "## Where to go\n", *about]
        return "\n".join([*lines, "", _tree(SECTIONS)])

    def _section(self, section: Section) -> str:
        """The pages of a section, with what each is about."""
        head = f"# {section.title}\n\n{section.about}\n"
        lines = [f"- [{page.title}](/{page.name})<br>{self._about(page)}" for page in section.pages]
        return "\n".join([head, *lines, "", _tree(section.pages)])

    def _about(self, page: Page) -> str:
        return page.about or self._described[page.source]

    def _text(self, page: Page) -> str:
        if page == OPTIONS:
            return options.page()
        if page == API:
            return api.page(self.root / "editcore")
        file, _, title = page.source.partition("#")
        if title:
            return raised(f"## {title}\n{self._readme[title]}")
        if file.endswith(".ipynb"):
            return notebooks.markdown(self.root / file)
        text = (self.root / file).read_text(encoding="utf-8")
        return anchored(text) if page.name == GLOSSARY else text

    def _write(self, name: str, source: Path, text: str) -> None:
        file = self.folder / f"{name}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        text = relinked(text, self._target(name, source))
        file.write_text(NAMED.sub("[](", text), encoding="utf-8")

    def _target(self, name: str, source: Path) -> Callable[[str], str]:
        """From a link in the repository's page `source` to that link in the site's page `name`."""

        def target(link: str) -> str:
            if "://" in link or link.startswith("mailto:"):
                return link
            path, mark, fragment = link.partition("#")
            if path.startswith("/"):  # already a page of the site
                return _relative(name, f"{path[1:]}.md") + mark + fragment
            file = os.path.normpath(source.parent / path) if path else str(source)
            return _relative(name, self._found(file, fragment)) + mark + fragment

        return target

    def _found(self, file: str, fragment: str) -> str:
        """The site's file of a page of the repository, or of a copy of any other file."""
        if (self.root / file).is_dir():
            file = f"{file}/{README}"
        if file == README:
            return f"{self._part(fragment)}.md"
        named = {page.source: page.name for page in pages()}
        if file in named:
            return f"{named[file]}.md"
        copy = self.folder / FILES / file
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.root / file, copy)
        return f"{FILES}/{file}"

    def _part(self, fragment: str) -> str:
        """The page with the part of README.md that has this anchor."""
        named = {
            anchor(page.source.partition("#")[2]): page.name
            for page in pages()
            if page.source.startswith(f"{README}#")
        }
        return named.get(fragment, INDEX) if fragment else INDEX


def _relative(page: str, file: str) -> str:
    return os.path.relpath(file, PurePosixPath(page).parent)


def _tree(entries: tuple[Page, ...] | tuple[Section, ...]) -> str:
    """Sphinx's list of the pages below a page."""
    return "\n".join(["```{toctree}", ":hidden:", "", *map(_entry, entries), "```", ""])


def _entry(each: Page | Section) -> str:
    return f"{each.title} </{each.name}>" if each.title else f"/{each.name}"
