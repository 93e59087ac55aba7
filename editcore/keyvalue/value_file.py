"""v* of a shard's cases as a file, shared by editors that differ only in their keys."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from editcore.config.value_options import ValueOptions
from editcore.errors import DataError, require
from editcore.keyvalue.value import Value
from editcore.records.tensors import opened, save_tensors

FIELDS = ("cases", "initial", "delta", "steps", "loss")
SECONDS = "seconds_per_case"
REMEDY = "delete it and run again, so that `editcore values` writes it"


@dataclass(frozen=True)
class StoredValues:
    """The content of a file by case: v*, or the reason why there is none.

    `seconds` is the time of the search, divided by the number of cases.
    """

    path: Path
    by_case: Mapping[int, Value | str]
    seconds: float = 0.0

    def __getitem__(self, case_id: int) -> Value | str:
        """The entry of one case; `DataError` if the file lacks it."""
        self.require([case_id])
        return self.by_case[case_id]

    def require(self, case_ids: Iterable[int]) -> None:
        """Raise `DataError` if the file lacks one of the cases."""
        for case_id in case_ids:
            if case_id not in self.by_case:
                raise DataError(
                    f"{self.path} lacks v* of case {case_id}, which was planned for it; delete the "
                    "file and run again, to search for v* of all its cases"
                )


def under(planned: Mapping[ValueOptions, StoredValues], options: ValueOptions) -> StoredValues:
    """The file of v* found with given options; `DataError` if none was planned for them."""
    if (found := planned.get(options)) is not None:
        return found
    given, asked = next(iter(planned)).model_dump(), options.model_dump()
    differing = [
        f"{name} {given.get(name)}, not {value}"
        for name, value in asked.items()
        if value != given.get(name)
    ]
    files = ", ".join(str(stored.path) for stored in planned.values())
    raise DataError(
        f"{files}: v* was planned with other options than the editor asks for: "
        f"{', '.join(differing)}; plan the study again, with `editcore plan` or snakemake"
    )


def save(
    values: Mapping[int, Value | str], path: Path, metadata: Mapping[str, str], seconds: float = 0.0
) -> None:
    """Write v* as its two parts, start and δ `[case, d_model]`, and why other cases have none.

    `seconds` is the time of the whole search.
    """
    found = {case: value for case, value in values.items() if isinstance(value, Value)}
    reasons = {case: value for case, value in values.items() if isinstance(value, str)}
    empty = torch.empty(0)
    tensors = {
        "cases": torch.tensor(list(found), dtype=torch.long),
        "initial": torch.stack([v.initial.cpu() for v in found.values()]) if found else empty,
        "delta": torch.stack([v.delta.cpu() for v in found.values()]) if found else empty,
        "steps": torch.tensor([v.steps for v in found.values()], dtype=torch.long),
        "loss": torch.tensor([v.loss for v in found.values()], dtype=torch.float64),
    }
    about = {"reasons": json.dumps(reasons), SECONDS: str(seconds / max(1, len(values)))}
    save_tensors(path, tensors, {**metadata, **about})


def load(path: Path, device: torch.device) -> StoredValues:
    """Read what `save` wrote; `DataError` for anything else."""
    with opened(path, "values", REMEDY, device) as file:
        cases, initials, deltas, steps, losses = (file[name] for name in FIELDS)
        reasons = json.loads(file.about["reasons"])
        found: dict[int, Value | str] = {int(case): str(why) for case, why in reasons.items()}
        shape = (len(cases), *initials.shape[1:])
        require(len(shape) == 2 or not len(cases), "v* is one vector for each case")
        require(initials.shape == deltas.shape and len(initials) == len(cases), "shapes differ")
        require(initials.is_floating_point() and deltas.is_floating_point(), "v* is not numeric")
        for case, initial, delta, step, loss in zip(
            cases.tolist(), initials, deltas, steps.tolist(), losses.tolist(), strict=True
        ):
            found[int(case)] = Value(initial, delta, int(step), float(loss))
        seconds = float(file.about.get(SECONDS, 0.0))
    return StoredValues(path, found, seconds)
