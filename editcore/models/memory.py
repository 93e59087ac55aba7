"""The memory of the process: how much it used, and how freed memory returns to the system."""

import os
import sys
from ctypes import CDLL
from typing import Any

import torch

KILO = 1024
# Numbers of glibc's settings; the size of a large tensor, and what the heap's end may keep.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGE, KEPT = 2**24, 2**26
# How many products oneDNN keeps ready, and torch for it. By default 1,024, at half a megabyte each;
# batches of ever new sizes fill them. A step of the search for v* needs about a dozen.
CACHES, READY = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"), 32


def use_sparingly(device: str) -> None:
    """Set up this process for a model on `device`, so that it takes little memory; not on a GPU.

    Large tensors return to the system when they are freed. By default, each freed one of up to
    32 MB raises the size from which on glibc lets them return, and smaller ones leave holes in its
    heap, which grow with the work that was done. And heads that share attention keys and values
    read them without copies, which a processor can do with a mask too, in half the time. It has to
    be called before the first product.
    """
    if device != "cpu":
        return
    for name in CACHES:
        os.environ.setdefault(name, str(READY))
    os.environ.setdefault("TRANSFORMERS_SDPA_FORCE_GQA", "1")
    if set_option := _of_glibc("mallopt"):
        set_option(MMAP_THRESHOLD, LARGE)
        set_option(TRIM_THRESHOLD, KEPT)


def give_back(size: int) -> None:
    """Return freed memory to the system, if `size`, the number of bytes freed, is large."""
    if size > KEPT and (trim := _of_glibc("malloc_trim")):
        trim(0)


def _of_glibc(name: str) -> Any:
    """A function of glibc; None where there is another library."""
    return getattr(CDLL(None), name, None) if sys.platform.startswith("linux") else None


def peak_bytes(device: torch.device) -> int | None:
    """The peak of the GPU's memory held by tensors, or of the process's own; None on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else KILO * peak
