"""Markdown as text: lines outside of code, parts, links, and the anchors of headings."""

import re
from collections.abc import Callable, Iterator

FENCE = re.compile(r"\s*(```+|~~~+)")
LINK = re.compile(r"(?<=\]\()[^()\s]+(?=\))")
CODE = re.compile(r"(`+[^`]+`+)")
HEADING = re.compile(r"(#+) +(.+?)\s*$")


def outside_code(text: str) -> Iterator[tuple[str, bool]]:
    """The lines of a page, each with whether it is outside of fenced code."""
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
            yield line, False
        elif fence:
            closes = mark is not None and mark[1].startswith(fence) and line.strip() == mark[1]
            fence = "" if closes else fence
            yield line, False
        else:
            yield line, True


def parts(text: str) -> dict[str, str]:
    """What is under each heading of the second level; what comes before is under ""."""
    found, title = {"": ""}, ""
    for line, outside in outside_code(text):
        if outside and line.startswith("## "):
            title = line.removeprefix("## ").strip()
            found[title] = ""
        else:
            found[title] += line
    return found


def raised(text: str) -> str:
    """The text with every heading one level up."""
    return "".join(
        line[1:] if outside and line.startswith("##") else line
        for line, outside in outside_code(text)
    )


def relinked(text: str, target: Callable[[str], str]) -> str:
    """The text with the target of every link and image replaced by `target` of it."""
    return "".join(
        _relinked(line, target) if outside else line for line, outside in outside_code(text)
    )


def _relinked(line: str, target: Callable[[str], str]) -> str:
    prose = CODE.split(line)
    # A link's text may be code, so only what is inside of code is left as it is.
    prose[::2] = [LINK.sub(lambda found: target(found[0]), each) for each in prose[::2]]
    return "".join(prose)


def links(text: str) -> list[str]:
    """The targets of all links and images."""
    found: list[str] = []

    def noted(target: str) -> str:
        found.append(target)
        return target

    relinked(text, noted)
    return found


def anchors(text: str) -> list[str]:
    """The anchors that GitHub gives to the headings of a page, in their order."""
    found: list[str] = []
    for line, outside in outside_code(text):
        heading = HEADING.match(line) if outside else None
        if heading:
            found.append(_numbered(anchor(heading[2]), found))
    return found


def anchor(heading: str) -> str:
    """The anchor of a heading.

    >>> anchor("`check`: one edit, one verdict")
    'check-one-edit-one-verdict'
    """
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("\\", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")


def _numbered(name: str, taken: list[str]) -> str:
    count = sum(
        each == name or re.fullmatch(re.escape(name) + r"-\d+", each) is not None for each in taken
    )
    return f"{name}-{count}" if name in taken else name
