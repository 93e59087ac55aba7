"""What rounding a model's weights does to its predictions: a scale for disturbances by edits.

Weights are rounded as GGUF stores them in Q8_0 and Q4_0, the usual 8 and 4 bits: each 32
consecutive inputs of an output share one scale, without an offset, in float16. With 8 bits, a
weight is a whole number from -127 to 127 times the scale; with 4 bits one from -8 to 7, and the
scale's sign makes it -8 for the largest weight. The weights of the blocks' linear maps are rounded,
and the head's if it is not tied to the embedding; embeddings, norms and biases stay as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn.functional import pad

from editcore.errors import ModelError
from editcore.evaluation.perplexity import EditedPerplexity, Perplexity, TokenizedTexts, Unedited
from editcore.models.anatomy import LINEAR
from editcore.models.architectures import stores_transposed
from editcore.models.loading import LoadedModel

BITS = (8, 4)
BLOCK = 32


def measure(model: LoadedModel, texts: TokenizedTexts, unedited: Unedited, bits: int) -> Perplexity:
    """The perplexity of the model rounded to 8 or 4 bits, and its disturbance; one pass.

    `unedited` is the model itself on the same texts. Raises `ModelError` as `rounding` does.
    """
    with rounding(model, bits):
        return EditedPerplexity(model, texts, unedited.predictions).now(0)


@contextmanager
def rounding(model: LoadedModel, bits: int) -> Iterator[None]:
    """A block in which the model's linear maps are rounded; then they are bit by bit as before.

    The original weights of the rounded maps are kept meanwhile, once. Raises `ModelError` if they
    are not floating-point numbers.
    """
    weights = {name: model.model.get_parameter(name) for name in linear_weights(model)}
    for name, weight in weights.items():
        if not weight.is_floating_point():
            raise ModelError(
                f"{name} of model {model.name!r} is quantised ({weight.dtype}), so it cannot be "
                "rounded; load the model with floating-point weights"
            )
    originals: dict[str, Tensor] = {}
    try:
        for name, weight in weights.items():
            originals[name] = weight.detach().clone()
            transposed = stores_transposed(model.model, name)
            own = originals[name].T if transposed else originals[name]
            new = rounded(own, bits)
            weight.data.copy_(new.T if transposed else new)
        model.follow(weights)
        yield
    finally:
        for name, original in originals.items():
            weights[name].data.copy_(original)
        model.follow(weights)


def linear_weights(model: LoadedModel) -> list[str]:
    """The names of the weights that are rounded."""
    whole, blocks = model.model, f"{model.anatomy.blocks}."
    head, embedding = whole.get_output_embeddings(), whole.get_input_embeddings()
    own_head = head is not None and head.weight is not embedding.weight
    return [
        f"{path}.weight"
        for path, module in whole.named_modules()
        if isinstance(module, LINEAR) and (path.startswith(blocks) or (own_head and module is head))
    ]


def rounded(weight: Float[Tensor, "d_out d_in"], bits: int) -> Float[Tensor, "d_out d_in"]:
    """A weight rounded to 8 or 4 bits, in its own dtype."""
    width = weight.shape[-1]
    blocks = pad(weight.float(), (0, -width % BLOCK)).unflatten(-1, (-1, BLOCK))
    found = (_to_8 if bits == 8 else _to_4)(blocks)
    return found.flatten(-2)[..., :width].to(weight.dtype)


_Blocks = Float32[Tensor, "d_out block number"]


def _to_8(blocks: _Blocks) -> _Blocks:
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    steps = blocks * _inverse(scale)
    return steps.sign() * (steps.abs() + 0.5).floor() * scale.half().float()


def _to_4(blocks: _Blocks) -> _Blocks:
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = largest / -8
    steps = (blocks * _inverse(scale) + 8.5).trunc().clamp(0, 15) - 8
    return steps * scale.half().float()


def _inverse(scale: Float32[Tensor, "d_out block 1"]) -> Float32[Tensor, "d_out block 1"]:
    return torch.where(scale == 0, 0.0, 1 / scale)
