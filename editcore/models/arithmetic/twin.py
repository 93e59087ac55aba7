"""A twin of a model that multiplies in bfloat16, and shares everything else with it."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from editcore.models.anatomy import Anatomy
from editcore.models.arithmetic.head import is_rounded, round_head
from editcore.models.arithmetic.precision import ReducedLinear, rounded_weight


def reduced(model: PreTrainedModel, anatomy: Anatomy) -> PreTrainedModel:
    """A twin whose linear maps are `ReducedLinear`; everything else is shared, not copied.

    Inside an MLP, numbers stay in bfloat16 from one map to the next. The head stays as it is, with
    its weight in bfloat16 beside it.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    twin: PreTrainedModel = copy.deepcopy(model, shared)
    head = twin.get_output_embeddings()
    for path, child in [*twin.named_modules()]:
        if child is head:
            if isinstance(child, nn.Linear):
                round_head(child)
        elif isinstance(child, nn.Linear | Conv1D):
            dtype = torch.bfloat16 if anatomy.inside_mlp(path) else None
            twin.set_submodule(path, ReducedLinear(child, dtype))
    return twin


def refresh(twin: PreTrainedModel, model: PreTrainedModel, parameters: Iterable[str]) -> None:
    """Round the model's changed weights again; the twin shares everything else.

    A weight may have several names, for example when head and embedding are tied.
    """
    changed = {id(model.get_parameter(name)) for name in parameters}
    for path, child in twin.named_modules():
        if isinstance(child, ReducedLinear):
            whole = model.get_submodule(path)
            assert isinstance(whole, nn.Linear | Conv1D)
            if id(whole.weight) in changed:
                child.weight = rounded_weight(whole)
        elif isinstance(child, nn.Linear) and is_rounded(child) and id(child.weight) in changed:
            round_head(child)
