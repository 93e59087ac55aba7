"""Orders the facts of a sequence by how like their keys are.

Whether facts with similar keys follow each other decides how many edits a model survives
(chilli404/alphaedit-analysis).
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from editcore.config.stages import Arrangement
from editcore.errors import RequestError
from editcore.keyvalue.keys import collect_keys, tokenize_templates
from editcore.models.loading import LoadedModel
from editcore.models.tokenization import TokenizedPrompt
from editcore.requests import SLOT, EditRequest


def arranged(
    requests: Sequence[EditRequest],
    arrangement: Arrangement,
    model: LoadedModel,
    layers: Collection[int],
) -> list[EditRequest]:
    """The facts in the order of `arrangement`, beginning with the first that has a key.

    Keys are those of the bare prompts at the last of `layers`, or at the middle of the model if
    there are none. Facts without a key come last, as they were given.
    """
    if arrangement == "drawn":
        return [*requests]
    prompts = {i: prompt for i, fact in enumerate(requests) if (prompt := _prompt(model, fact))}
    if not prompts:
        return [*requests]
    layer = max(layers, default=model.parts.depth // 2)
    found = collect_keys(model, layer, [[prompt] for prompt in prompts.values()])
    keys = torch.nn.functional.normalize(torch.stack([each.bare for each in found]), dim=1)
    places = list(prompts)
    first = [places[i] for i in (clustered if arrangement == "clustered" else dispersed)(keys)]
    return [requests[i] for i in (*first, *(i for i in range(len(requests)) if i not in prompts))]


def clustered(units: Float[Tensor, "fact d_key"]) -> list[int]:
    """From the first key on, always the nearest of those that are left."""
    left = torch.zeros(len(units))
    order = [0]
    while len(order) < len(units):
        left[order[-1]] = -torch.inf
        order.append(int((units @ units[order[-1]] + left).argmax()))
    return order


def dispersed(units: Float[Tensor, "fact d_key"]) -> list[int]:
    """From the first key on, always the one whose nearest among those before is furthest."""
    nearest = torch.full((len(units),), -torch.inf)
    order = [0]
    while len(order) < len(units):
        nearest = torch.maximum(nearest, units @ units[order[-1]])
        nearest[order[-1]] = torch.inf
        order.append(int(nearest.argmin()))
    return order


def _prompt(model: LoadedModel, fact: EditRequest) -> TokenizedPrompt | None:
    if fact.flaw or not fact.names_subject:
        return None
    try:
        return tokenize_templates(model, fact, [SLOT])[0]
    except RequestError:
        return None
