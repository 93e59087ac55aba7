"""The rows of a Parquet file as records, as if they had been read from JSON."""

from pathlib import Path
from typing import Any

from editcore.errors import reading

SUFFIX = ".parquet"


def rows(path: Path) -> list[dict[str, Any]]:
    """The rows in order, each without its empty fields: Parquet gives every row every column.

    Raises `DataError` if the file is not there, or is not Parquet.
    """
    # Imported late: only these files need it.
    from pyarrow.parquet import ParquetFile

    with reading(path, "records as Parquet", "fetch or make it again"), ParquetFile(path) as file:
        return [_filled(row) for row in file.read().to_pylist()]


def _filled(value: Any) -> Any:
    """A value without the fields of records, at any depth, that are empty."""
    if isinstance(value, dict):
        return {name: _filled(field) for name, field in value.items() if field is not None}
    return [_filled(each) for each in value] if isinstance(value, list) else value
