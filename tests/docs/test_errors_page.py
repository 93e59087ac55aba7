"""docs/errors.md has every message of the code, and explains none that the code cannot give."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from editcore.cli import main
from refresh.errors import GAP, PAGE, explains, headings, listed, messages, page

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
# What a refusal of these looks like depends on where the message is put together.
CODE = """
class EditcoreError(Exception): ...
class OwnError(EditcoreError): ...
NAME, PLACE = "a.json", "the folder"
FILE = "b.json"

def plain(path):
    raise OwnError(f"{path}: lacks {FILE}; add it")

def named(path):
    if why := reason(path):
        raise OwnError(why)

def reason(path) -> str:
    return f"{path} is too long; shorten it"

def made(path):
    return OwnError("made by a function")

def passed_on(error):
    raise OwnError(f"{error}: {error}")

def failed(case):
    return EditResult(status=f"case {case} has failed")

def something_else():
    print("not the message of an error")
"""


def test_the_lists_of_messages_are_those_of_the_code() -> None:
    assert page(ROOT) == TEXT, "renew it: python -m refresh.errors"


def test_every_message_is_explained_or_has_a_list() -> None:
    lists = listed(TEXT, messages(ROOT))
    assert lists.get("", []) == []
    assert all(lists.values())


def test_messages_are_found_wherever_they_are_put_together(tmp_path: Path) -> None:
    (tmp_path / "editcore").mkdir()
    (tmp_path / "editcore" / "room.py").write_text(CODE)
    assert [message.text for message in messages(tmp_path)] == [
        "case … has failed",
        "… is too long; shorten it",
        "…: lacks b.json; add it",
        "made by a function",
    ]


def test_a_message_without_a_place_on_the_page_is_found(tmp_path: Path) -> None:
    (tmp_path / "editcore").mkdir()
    (tmp_path / "editcore" / "room.py").write_text(CODE)
    found = messages(tmp_path)
    explained = "### …: lacks …\n\nHow.\n"
    assert len(listed(explained, found)[""]) == 3
    lists = listed(explained + "<!-- messages of other room: start -->", found)
    assert (len(lists["other room"]), lists.get("")) == (3, None)


def texts() -> Iterator[str]:
    """Every text in the library's code, … where a value is put in."""
    for file in (ROOT / "editcore").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr | ast.Constant):
                yield text_of(node)


def text_of(node: ast.AST) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) for value in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else GAP


@pytest.fixture(scope="module")
def said() -> list[str]:
    return [text for text in texts() if len(text) > 12]


@pytest.mark.parametrize("heading", headings(TEXT))
def test_every_error_of_the_page_is_one_that_the_code_can_give(
    heading: str, said: list[str]
) -> None:
    assert any(explains(heading, text) for text in said)


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "nowhere.yaml"],
        ["edit", "--job", "nowhere.json", "--out", "o", "--deltas", "d"],
        ["revert", "nowhere"],
        ["apply", "nowhere", "nowhere"],
    ],
)
def test_the_page_has_the_errors_that_mistyped_commands_give(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    shown = [*headings(TEXT), *(line[2:] for line in TEXT.splitlines() if line[:2] == "- ")]
    assert any(explains(message, said) for message in shown)
