"""Second moments as the authors of ROME and MEMIT publish them: one `.npz` per model and layer.

Their statistics hold the sum of k kᵀ over tokens in `mom2.mom2`, the number of tokens in
`mom2.count`, and the number of texts in `sample_size`.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from editcore.errors import DataError
from editcore.keyvalue.second_moment import SecondMoment

SUM, COUNT = "mom2.mom2", "mom2.count"
# The sums were made in float32 on a GPU; a relative asymmetry above this is not rounding.
ASYMMETRY = 1e-3


def read(path: Path, layer: int) -> SecondMoment:
    """The published second moment of one layer; the file does not contain the layer's number.

    Raises `DataError` if the file is missing or truncated, or does not hold sums of k kᵀ.
    """
    try:
        # Without pickle, a file from elsewhere cannot run code.
        with np.load(path, allow_pickle=False) as arrays:
            total, count = arrays[SUM], arrays[COUNT]
    except (
        OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise _unfit(path, f"it cannot be read ({error})") from error
    tokens = _tokens(path, count)
    return SecondMoment.from_matrix(layer, torch.from_numpy(_sums(path, total) / tokens), tokens)


def _tokens(path: Path, count: np.ndarray) -> int:
    if count.ndim or not np.issubdtype(count.dtype, np.number) or not count >= 1:
        raise _unfit(path, f"{COUNT} is {count}, not a number of tokens")
    return int(count)


def _sums(path: Path, total: np.ndarray) -> np.ndarray:
    if total.ndim != 2 or len(set(total.shape)) != 1 or not np.issubdtype(total.dtype, np.floating):
        raise _unfit(path, f"{SUM} is {total.dtype} of shape {total.shape}, not a square matrix")
    exact = total.astype(np.float64)
    if not np.isfinite(exact).all():
        raise _unfit(path, f"{SUM} holds numbers that are not finite")
    if np.abs(exact - exact.T).max() > ASYMMETRY * np.abs(exact).max():
        raise _unfit(path, f"{SUM} is not symmetric")
    return exact


def _unfit(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} is not a published second moment: {reason}. Download it again; it is an .npz with "
        f"{SUM} and {COUNT}, as the code of Meng et al. (2022, 2023) writes it"
    )
