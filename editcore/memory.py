"""How much work fits into memory at once, so that batches follow from a budget."""

import torch

from editcore.models import LoadedModel

# Larger batches than fit the caches of a processor are no faster; graphics cards take what is free.
CPU_BUDGET = 512 * 2**20
SHARE_OF_FREE = 0.4


def budget(device: torch.device) -> int:
    """Bytes that one batch may take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(SHARE_OF_FREE * free)
    return CPU_BUDGET


def tokens_that_fit(model: LoadedModel, layer: int) -> int:
    """Tokens whose activations behind block `layer` fit the budget, kept for the way back.

    Counted per block: about 16 vectors as wide as the states and 3 as wide as a key, in float32;
    and, for every third token, three rows as wide as the vocabulary at the head.
    """
    width = model.model.config.hidden_size
    key = model.model.get_parameter(model.layout.down_weight(layer)).numel() // width
    blocks = model.layout.depth - layer
    floats = blocks * (16 * width + 3 * key) + model.model.config.vocab_size
    return max(1, budget(model.device) // (4 * floats))
