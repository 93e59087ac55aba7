"""A table as text, which is Markdown and can also be read in a terminal."""

from collections.abc import Iterable, Sequence


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table, its columns as wide as their widest cell.

    >>> print(text_table(("model", "n"), [("tiny", "3")]))
    | model | n |
    |-------|---|
    | tiny  | 3 |
    """
    lines = [heads, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    padded = [
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([padded[0], rule, *padded[1:]])
