"""What rounding a model's weights does to its predictions: a scale for disturbances by edits.

The weights of the blocks' linear maps are rounded, and the head's if it is not tied to the
embedding; embeddings, norms and biases stay as they are. The format is one in which models of 8 and
4 bits are used on the device: bitsandbytes' on a GPU with CUDA if it is installed, otherwise
GGUF's.
"""

from functools import partial

import torch

from editcore.evaluation.perplexity import EditedPerplexity, Perplexity, TokenizedTexts, Unedited
from editcore.evaluation.treatments import bitsandbytes_rounding, gguf_rounding
from editcore.evaluation.treatments.compression import Compression
from editcore.models.loading import LoadedModel

BITS = (8, 4)


def compression(bits: int, device: torch.device | str) -> Compression:
    """Rounding to 8 or 4 bits, in the format for models on `device`."""
    of, formats = gguf_rounding.rounded, gguf_rounding.FORMATS
    if torch.device(device).type == "cuda" and bitsandbytes_rounding.installed():
        of, formats = bitsandbytes_rounding.rounded, bitsandbytes_rounding.FORMATS
    return Compression(partial(of, bits=bits), head=True, rounded_as=formats[bits])


def measure(
    model: LoadedModel, texts: TokenizedTexts, unedited: Unedited, how: Compression
) -> Perplexity:
    """The perplexity of the rounded model, and its disturbance; one pass.

    `unedited` is the model itself on the same texts. Raises `ModelError` as `Compression` does.
    """
    with how.applied(model):
        return EditedPerplexity(model, texts, unedited.predictions).now(0)
