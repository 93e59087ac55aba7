"""Reads a file of context templates: texts with `{}` in place of the prompt."""

import json
from pathlib import Path

from editcore.errors import reading, require
from editcore.requests import SLOT

REMEDY = f"give one template on each line, or a JSON list of them, each with one {SLOT}"


def read_templates(path: Path) -> tuple[str, ...]:
    """The templates of a file in their order, the bare prompt left out; `DataError` if it has none.

    A file whose first character is a bracket is a JSON list; of any other, each line is one.
    """
    with reading(path, "context templates", REMEDY):
        text = path.read_text(encoding="utf-8")
        listed = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
        for template in listed:
            require(isinstance(template, str), f"{template!r:.40} is not text")
        templates = tuple(each for each in listed if each.strip() not in ("", SLOT))
        require(len(templates) > 0, "it has no template")
        for template in templates:
            require(template.count(SLOT) == 1, f"{template!r:.40} does not have exactly one {SLOT}")
        return templates
