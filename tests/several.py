"""A format of cases of several facts, for tests: each case is a list of flat records."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from editcore import EditRequest
from editcore.datasets.formats.flat import flat
from editcore.registry.hookspecs import DatasetFormatInfo
from editcore.registry.registry import Registry


def several(record: Mapping[str, Any], index: int) -> EditRequest:
    """The case; its first fact's prompts test it."""
    first, *others = (flat({"case_id": index} | fact, index) for fact in record["facts"])
    return replace(first, case_id=record["case_id"], further=tuple(others))


def knowing(registry: Registry) -> Registry:
    """The registry with the format `several`."""
    info = DatasetFormatInfo("several", "", "", "tests.several:several", ("facts",))
    source = registry.dataset_formats["flat"].source
    registry.dataset_formats.add(info, source)
    return registry
