"""The help texts of all commands as one page of the documentation.

python -m editcore.cli.help_page > docs/commands.md
"""

import click

from editcore.cli import COMMANDS, SECTIONS, main

HEAD = """# Commands

Generated from the help texts: `python -m editcore.cli.help_page > docs/commands.md`. The exit
status is 0 if all went well, 2 after an error (with one plain message; see [errors](errors.md)), 3
if `check`, `guard` or `measure` found a damaged or collapsed model or `compare`, if asked to, a
regression, 4 if the edit that `check` made is without effect, and 130 after Ctrl-C. That of
`doctor` is 1 if anything is broken.
"""
WIDTH = 100


def page() -> str:
    """The page: a link to each command, then the help of each."""
    links = [
        f"{title}: {' · '.join(f'[{c.name}](#editcore-{c.name})' for c in commands)}"
        for title, commands in SECTIONS.items()
    ]
    parts = [f"## editcore {c.name}\n\n```text\n{_help(c)}\n```" for c in COMMANDS]
    return "\n\n".join([HEAD.rstrip(), *links, *parts]) + "\n"


def _help(command: click.Command) -> str:
    parent = click.Context(main, info_name="editcore", **main.context_settings)
    context = click.Context(
        command, parent, command.name, terminal_width=WIDTH, max_content_width=WIDTH
    )
    lines = command.get_help(context).splitlines()
    return "\n".join(line.rstrip() for line in lines)


if __name__ == "__main__":
    click.echo(page(), nl=False)
