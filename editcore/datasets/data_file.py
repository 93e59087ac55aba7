"""A file of facts and how its records are read."""

from dataclasses import dataclass

from editcore.config.columns import ColumnNames
from editcore.registry.hookspecs import AUTO


@dataclass(frozen=True)
class DataFile:
    """A file of facts: its records are of a format, or have the columns that a user names."""

    path: str
    format: str = AUTO
    columns: ColumnNames | None = None
