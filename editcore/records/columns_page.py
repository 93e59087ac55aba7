"""Generates the lists of columns in results/README.md from the declared tables.

python -m editcore.records.columns_page results/README.md
"""

import re
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from editcore.atomic import write_text
from editcore.records import answer_schemas, mechanism_schemas, model_schemas, schemas
from editcore.records.columns import TEXTS, keys, meanings, schema_name
from editcore.records.metric_columns import PROBES

BLOCK = re.compile(r"(<!-- columns: ([\w-]+)(?: beyond ([\w-]+))? -->\n).*?(<!-- end -->)", re.S)
TYPES = {"string": "text", "double": "float64", str(TEXTS): "list of texts"}
# Columns that only some studies have in a declared table, as blocks of their own.
FURTHER: Mapping[str, pa.Schema] = MappingProxyType(
    {"probes": pa.schema([column.field(nullable=True) for column in PROBES])}
)


def tables() -> dict[str, pa.Schema]:
    """Every declared table by its name without version."""
    modules = schemas, mechanism_schemas, model_schemas, answer_schemas
    values = (value for module in modules for value in vars(module).values())
    declared = [value for value in values if isinstance(value, pa.Schema)]
    return {schema_name(table).partition("/")[0]: table for table in declared}


def renewed(page: str) -> str:
    """The page with every block from `<!-- columns: NAME -->` to `<!-- end -->` regenerated.

    `NAME beyond OTHER` lists the columns that OTHER lacks; `NAME` may also be of `FURTHER`. Raises
    `KeyError` for an unknown table.
    """
    known = tables()

    def block(found: "re.Match[str]") -> str:
        start, name, other, end = found.groups()
        if name in FURTHER:
            return f"{start}{_rows(FURTHER[name])}\n{end}"
        return f"{start}{_described(known[name], known[other] if other else None)}\n{end}"

    return BLOCK.sub(block, page)


def _described(table: pa.Schema, other: pa.Schema | None) -> str:
    """Name, order and columns of a table, without the columns of `other`."""
    head = f"`{schema_name(table)}`, ordered by {', '.join(keys(table))}."
    if other is not None:
        head += f" The columns of `{schema_name(other)}`, and:"
    return f"{head}\n\n{_rows(table, other.names if other is not None else ())}"


def _rows(table: pa.Schema, left_out: Collection[str] = ()) -> str:
    """The columns, as a table of Markdown."""
    rows = [
        f"| {name} | {TYPES.get(str(kind), kind)} | {meaning} |"
        for (name, meaning), kind in zip(meanings(table).items(), table.types, strict=True)
        if name not in left_out
    ]
    return "\n".join(["| column | type | meaning |", "|---|---|---|", *rows])


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        write_text(Path(argument), renewed(Path(argument).read_text(encoding="utf-8")))
