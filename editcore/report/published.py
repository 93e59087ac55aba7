"""Published tables, to stand beside ours: data, typed in, with their source, never mixed in."""

import importlib.resources
import json

from editcore.report.tables import Table


def published(name: str) -> Table:
    """A published table by its name in `published.json`, marked as such in its caption."""
    text = (importlib.resources.files("editcore.report") / "published.json").read_text("utf-8")
    content = json.loads(text)
    table = content[name]
    caption = f"Published, on other models. {table['caption']} Source: {content['source']}."
    rows = tuple(tuple(row) for row in table["rows"])
    return Table(caption, tuple(table["heads"]), rows, table["labels"])
