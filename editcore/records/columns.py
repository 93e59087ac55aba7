"""How a table is declared: its name and version, its keys, and each column with its meaning."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

SCHEMA_KEY = b"editcore.schema"
SORT_KEY = b"editcore.keys"
# Named as in Parquet files, so that a table that was read has the type that was written.
TEXTS = pa.list_(pa.field("element", pa.string()))
MEANING_KEY, UNIT_KEY = b"meaning", b"unit"


@dataclass(frozen=True)
class Column:
    """One column: the meaning of its values in one sentence, and their unit if they have one."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""

    def field(self, *, nullable: bool) -> pa.Field:
        """The column for Arrow; meaning and unit become its metadata, also in files."""
        about = {MEANING_KEY: self.meaning, UNIT_KEY: self.unit}
        known = {key: text for key, text in about.items() if text}
        return pa.field(self.name, self.type, nullable=nullable, metadata=known)


def text(name: str, meaning: str) -> Column:
    """A column of text."""
    return Column(name, pa.string(), meaning)


def texts(name: str, meaning: str) -> Column:
    """A column of lists of texts."""
    return Column(name, TEXTS, meaning)


def flag(name: str, meaning: str) -> Column:
    """A column of booleans."""
    return Column(name, pa.bool_(), meaning)


def whole(name: str, meaning: str, unit: str = "") -> Column:
    """A column of whole numbers in 64 bits."""
    return Column(name, pa.int64(), meaning, unit)


def small(name: str, meaning: str, unit: str = "") -> Column:
    """A column of whole numbers in 32 bits."""
    return Column(name, pa.int32(), meaning, unit)


def real(name: str, meaning: str, unit: str = "") -> Column:
    """A column of floating-point numbers."""
    return Column(name, pa.float64(), meaning, unit)


def schema(
    name: str,
    keys: Sequence[str],
    columns: Sequence[Column],
    nullable: Sequence[str] = (),
    required: Sequence[str] = (),
) -> pa.Schema:
    """A table's schema: `name` ends in its version; `keys` identify a row and order the file.

    Keys, `status` and the columns in `required` are never null, except for the keys in `nullable`;
    rows without these come last.
    """
    never_null = {*keys, *required, "status"} - {*nullable}
    fields = [column.field(nullable=column.name not in never_null) for column in columns]
    return pa.schema(fields, metadata={SCHEMA_KEY: name, SORT_KEY: ",".join(keys)})


def described(schema: pa.Schema) -> list[Column]:
    """The columns of a declared table."""
    return [
        Column(f.name, f.type, about[MEANING_KEY].decode(), about.get(UNIT_KEY, b"").decode())
        for f in schema
        for about in (f.metadata or {},)
    ]


def meanings(schema: pa.Schema) -> dict[str, str]:
    """The meaning of each column, followed by its unit in brackets if it has one."""
    return {c.name: f"{c.meaning} [{c.unit}]" if c.unit else c.meaning for c in described(schema)}


def schema_name(schema: pa.Schema) -> str:
    """The table's name and version."""
    return str(schema.metadata[SCHEMA_KEY].decode())


def keys(schema: pa.Schema) -> list[str]:
    """The columns that identify a row and order the file."""
    return str(schema.metadata[SORT_KEY].decode()).split(",")
