"""Compares rows with the plan, so that no mean is over fewer or other rows than planned."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from editcore.errors import DataError
from editcore.numbers import plural

if TYPE_CHECKING:
    from editcore.planning.jobs import Job

NAMED = 5


def job_of(
    path: Path, jobs: "Mapping[Path, Job]", provenance: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The job of a table: from `jobs`, or else from its provenance; empty if it has none."""
    if path in jobs:
        return jobs[path].model_dump(mode="json")
    own = provenance.get("job")
    return own if isinstance(own, Mapping) else {}


def case_ids(job: Mapping[str, Any]) -> list[Any]:
    """The ids of the planned cases; none if the job has no list of them."""
    planned = job.get("case_ids")
    return planned if isinstance(planned, list) else []


def require(path: Path, planned: Sequence[str], found: Iterable[str]) -> None:
    """Raise `DataError` naming rows that are missing, appear twice, or were not planned.

    Rows are given by name, such as `case 3`.
    """
    counts = Counter(found)
    expected = dict.fromkeys(planned)
    flaws = {
        "missing": [name for name in expected if name not in counts],
        "double": [name for name, count in counts.items() if count > 1],
        "not planned": [name for name in counts if name not in expected],
    }
    if any(flaws.values()):
        listed = "; ".join(f"{flaw}: {_listed(names)}" for flaw, names in flaws.items() if names)
        raise DataError(
            f"{path}: {plural(len(expected), 'row')} planned, but {listed}; delete it and run again"
        )


def _listed(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are.

    >>> _listed([f"case {i}" for i in range(7)])
    'case 0, case 1, case 2, case 3, case 4 and 2 more'
    """
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(islice(names, NAMED)) + more
