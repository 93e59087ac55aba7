"""What an edit of a tiny model reads: context templates, C and its spectrum."""

from collections.abc import Sequence

import torch

from editcore.editing.editor import EditContext
from editcore.keyvalue.prefixes import ContextPrefixes
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.spectrum import MomentSpectrum
from editcore.models.loading import wrap_model
from editcore.testing.models import LAYERS, WIDTH, tiny_model


def tiny_context(
    kind: str = "llama", templates: Sequence[str] = ("{}", "I think. {}")
) -> EditContext:
    """The model `tiny_model(kind)` with context templates, and with C at each of its layers.

    C is the mean k kᵀ of random keys, four times as many as a key has dimensions; it is the same
    at every layer and in every call.
    """
    model = wrap_model(kind, *tiny_model(kind))
    d_key = model.model.get_parameter(model.parts.down_weight(0)).numel() // WIDTH
    keys = torch.randn(4 * d_key, d_key, generator=torch.Generator().manual_seed(0))
    matrix = keys.T @ keys / len(keys)
    moments = {n: SecondMoment.from_matrix(n, matrix, len(keys)) for n in range(LAYERS)}
    return EditContext(
        model,
        ContextPrefixes(tuple(templates), kind, 0),
        moments,
        spectra={layer: MomentSpectrum.of(moment) for layer, moment in moments.items()},
    )
