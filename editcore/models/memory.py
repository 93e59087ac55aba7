"""The most memory that the process has used so far."""

import sys

import torch

KILO = 1024


def peak_bytes(device: torch.device) -> int | None:
    """The peak of the GPU's memory held by tensors, or of the process's own; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else KILO * peak
