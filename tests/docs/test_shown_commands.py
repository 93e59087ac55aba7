"""The commands shown in READMEs work."""

import re

import pytest

from tests.docs.checkout import Checkout, with_examples
from tests.docs.pages import ROOT
from tests.docs.shown_commands import (
    COMMANDS,
    NEW,
    PLUGIN,
    Elsewhere,
    Run,
    commands,
    of_template,
    shown,
)

RUN = [command for command, way in COMMANDS.items() if isinstance(way, Run)]
ELSEWHERE = {command: way for command, way in COMMANDS.items() if isinstance(way, Elsewhere)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return with_examples(Checkout(tmp_path_factory.mktemp("checkout")))


def test_every_command_is_in_the_table_and_the_table_has_no_other() -> None:
    pages = shown()
    assert {"README.md", "config/README.md", "resources/README.md"} <= pages.keys()
    missing = {
        page: [command for command in found if command not in COMMANDS]
        for page, found in pages.items()
    }
    assert {page: found for page, found in missing.items() if found} == {}, (
        "say in tests/docs/shown_commands.py how they are run"
    )
    assert set(COMMANDS) - {command for found in pages.values() for command in found} == set()


@pytest.mark.parametrize("command", RUN)
def test_a_command_does_its_work(command: str, checkout: Checkout) -> None:
    way = COMMANDS[command]
    assert isinstance(way, Run)
    done = checkout.run(command)
    assert done.status == way.status, done.output
    written = (checkout.path / way.writes).read_text(encoding="utf-8") if way.writes else ""
    assert way.shows in (written or done.output)


def test_a_new_plugin_s_readme_has_the_commands_of_its_template(checkout: Checkout) -> None:
    checkout.run(NEW)
    text = (checkout.path / PLUGIN / "README.md").read_text(encoding="utf-8")
    assert list(commands(text.replace(f"{checkout.path}/", ""))) == of_template()


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_runs_a_command_elsewhere_exists(command: str) -> None:
    file, mark, what = re.split(r"(::|: )", ELSEWHERE[command].where, maxsplit=1)
    line = rf"def {what}\(" if mark == "::" else f"{re.escape(what)}$"
    assert re.search(f"^{line}", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_commands_are_found_in_each_kind_of_code() -> None:
    page = """\
Call `bash .ci/run x`, `editcore harden` and `snakemake
--unlock`.

    pip install \\
      a    # a comment

```sh
one    # here
two \\
  three
```

```yaml
no: command
```
"""
    assert [*commands(page)] == [
        "one",
        "two three",
        "pip install a",
        "bash .ci/run x",
        "snakemake --unlock",
    ]
