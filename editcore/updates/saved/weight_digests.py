"""SHA-256 of a saved model's weights: of each, and of all together."""

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from editcore.sources.safetensors_header import TensorPlace

# Weights are hashed in blocks of this size, by this many threads.
BLOCK_BYTES = 2**24
HASHERS = 8


def digests(places: Mapping[str, TensorPlace]) -> dict[str, str]:
    """The digest of each weight's bytes, by its name."""
    with ThreadPoolExecutor(HASHERS) as pool:
        return dict(zip(places, pool.map(_digest, places.values()), strict=True))


def digest_of_all(weights: Mapping[str, str]) -> str:
    """The digest of a whole model, from those of its weights; how they are sharded is no matter.

    >>> digest_of_all({"b": "1", "a": "2"}) == digest_of_all({"a": "2", "b": "1"})
    True
    """
    return sha256(json.dumps(sorted(weights.items())).encode()).hexdigest()


def differing(these: Mapping[str, str], those: Mapping[str, str]) -> list[str]:
    """The weights that only one of two models has, or that differ."""
    names: Iterable[str] = dict.fromkeys([*these, *those])
    return [name for name in names if these.get(name) != those.get(name)]


def _digest(place: TensorPlace) -> str:
    found = sha256()
    with place.file.open("rb") as file:
        file.seek(place.start)
        left = place.size
        while left > 0 and (block := file.read(min(left, BLOCK_BYTES))):
            found.update(block)
            left -= len(block)
    return found.hexdigest()
