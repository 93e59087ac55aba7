"""What a model's weights are stored as on disk, whatever number type they are computed in."""

from collections import Counter
from math import prod
from pathlib import Path

from editcore.planning import preflight
from editcore.sources import gguf_header
from editcore.sources.places import gguf_file
from editcore.sources.safetensors_header import read_header


def stored_precision(source: str, revision: str | None = None) -> str | None:
    """The kind of most weights, in the file format's own words, such as `Q4_1` or `F32`.

    None if the model is not on this machine. Raises `DataError` for a damaged file.
    """
    if (file := gguf_file(source)) is not None:
        return gguf_header.read_header(file).precision
    described = preflight.configuration_file(source, revision)
    counts: Counter[str] = Counter()
    for weights in _weights(described):
        for place in read_header(weights).places.values():
            counts[place.dtype] += prod(place.shape)
    return max(counts, key=lambda kind: counts[kind]) if counts else None


def _weights(described: Path | None) -> list[Path]:
    """The files of weights beside a `config.json`."""
    return sorted(described.parent.glob("*.safetensors")) if described else []
