"""The training tokens as one long stream, cut into rows that begin anywhere."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from resources.generator.corpus import Corpus

BLOCK = 2_000


def token_stream(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast, count: int, cache: Path
) -> NDArray[np.uint16]:
    """Return the first `count` tokens of newline-separated documents, kept in a cache file."""
    if cache.exists():
        stream: NDArray[np.uint16] = np.load(cache, allow_pickle=False)
        return stream
    parts: list[NDArray[np.uint16]] = []
    documents, length = corpus.documents(), 0
    while length < count:
        text = "\n".join(islice(documents, BLOCK)) + "\n"
        lines = text.splitlines(keepends=True)
        for encoded in tokenizer(lines)["input_ids"]:
            parts.append(np.asarray(encoded, dtype=np.uint16))
            length += len(encoded)
    stream = np.concatenate(parts)[:count]
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, stream)
    return stream


def batches(
    stream: NDArray[np.uint16], context: int, rows: int, seed: int | str
) -> Iterator[NDArray[np.int64]]:
    """Yield [rows, context + 1] arrays in a shuffled order until the stream is used up.

    Rows start at multiples of `context` in the stream, hence anywhere in a sentence.
    """
    starts = list(range(0, len(stream) - context - 1, context))
    random.Random(f"{seed}/rows").shuffle(starts)
    for i in range(0, len(starts) - rows + 1, rows):
        yield np.stack([stream[s : s + context + 1] for s in starts[i : i + rows]]).astype(np.int64)
