"""The norm that v* has in an unedited model, over many facts, as a file bound to that model.

Liu et al. 2026, "Norm Anchors Make Model Edits Last": in a sequence, v* and the edited weights
enlarge each other, so v* is compared with its norm before any edit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from editcore.config.value_options import ValueSite
from editcore.errors import DataError, require
from editcore.keyvalue.keys import tokenize_templates
from editcore.keyvalue.spread import observe, site_of
from editcore.keyvalue.value import Value
from editcore.models.loading import LoadedModel
from editcore.records.tensors import opened, save_tensors
from editcore.requests import SLOT, EditRequest

if TYPE_CHECKING:
    from editcore.planning.jobs import ModelSpec

REMEDY = "delete it and run again, so that `editcore anchor` writes it"


@dataclass(frozen=True)
class NormAnchor:
    """‖v*‖ of some facts in the unedited model, in which v* is the output of one block's MLP."""

    norms: Float64[Tensor, " case"]

    def mean(self, dropped: float = 0.0) -> float:
        """ρ: the mean norm without the largest ones, the share `dropped` of all, rounded down.

        >>> NormAnchor(torch.tensor([1.0, 9.0, 3.0, 2.0], dtype=torch.float64)).mean(0.3)
        2.0
        """
        kept = len(self.norms) - math.floor(dropped * len(self.norms))
        return float(self.norms.sort().values[:kept].mean())


def mlp_values(
    model: LoadedModel, requests: Sequence[EditRequest], values: Sequence[Value], site: ValueSite
) -> Float[Tensor, "case d_model"]:
    """V = v₀ + δ of each request, with v₀ the MLP's output under the bare prompt; on the CPU.

    If v* is the output of the block, h = r + v₀, v₀ is read from the model as it is now; r is what
    else the block adds up.
    """
    if site.site == "mlp":
        return torch.stack([value.target.cpu() for value in values])
    prompts = [tokenize_templates(model, request, (SLOT,)) for request in requests]
    end = site_of(model, site.layer, "mlp")
    _, initial = observe(model, site.layer, end, prompts, (1.0,))
    return initial + torch.stack([value.delta.cpu() for value in values])


def measure(
    model: LoadedModel,
    requests: Sequence[EditRequest],
    values: Sequence[Value | str],
    site: ValueSite,
) -> NormAnchor:
    """The norms of those v* that were found; `DataError` if there are none."""
    sound = [(r, v) for r, v in zip(requests, values, strict=True) if isinstance(v, Value)]
    if not sound:
        raise DataError(
            f"no v* was found for any of the {len(requests)} facts of the norm anchor (the first: "
            f"{values[0]}); name other facts"
        )
    outputs = mlp_values(model, [r for r, _ in sound], [v for _, v in sound], site)
    return NormAnchor(outputs.double().norm(dim=1))


def save(
    anchor: NormAnchor, path: Path, model: "ModelSpec", key: str, metadata: dict[str, str]
) -> None:
    """Write the norms, whole or not at all; `key` identifies the search and the facts."""
    about = {**metadata, "bound_to": model.identity, "key": key}
    save_tensors(path, {"norms": anchor.norms}, about)


def load_for(model: "ModelSpec", key: str, path: Path) -> NormAnchor:
    """Read what `save` wrote; `DataError` for anything else, or another model, search or facts."""
    with opened(path, "norm anchor", REMEDY) as file:
        found = NormAnchor(file["norms"].double())
        require(found.norms.ndim == 1 and len(found.norms) > 0, "it is no list of norms")
        require(bool(found.norms.isfinite().all()), "not every number is finite")
        bound_to, made_for = file.about["bound_to"], file.about["key"]
    if bound_to != model.identity:
        raise DataError(f"{path} is of the model {bound_to}, not of {model.identity}; {REMEDY}")
    if made_for != key:
        raise DataError(f"{path} was made from other facts or with another search; {REMEDY}")
    return found
