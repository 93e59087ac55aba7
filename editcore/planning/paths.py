"""Where a study keeps its files; folders are hive partitions, `key=value`."""

from pathlib import Path
from typing import NamedTuple

RESULTS = Path("results")
STUDY_FILE = RESULTS / "jobs" / "study.json"


class ShardKey(NamedTuple):
    """The key of a shard of edits; each part is as it appears in paths."""

    model: str
    editor: str
    dataset: str
    shard: str


class ValueKey(NamedTuple):
    """The key of the v* of one shard; `digest` is a hash of the search's options."""

    model: str
    digest: str
    dataset: str
    shard: str


class SequenceKey(NamedTuple):
    """The key of a sequence of edits.

    `order` is the seed that drew its facts, their arrangement unless they are as drawn, and the
    facts per step if several.
    """

    model: str
    editor: str
    dataset: str
    order: str


class ArtefactKey(NamedTuple):
    """The key of texts, second moments or a training; `digest` is a hash of how they are made."""

    model: str
    digest: str


def prefixes_job(model: str) -> Path:
    """The job that writes a model's context prefixes."""
    return RESULTS / "jobs" / "prefixes" / f"model={model}.json"


def prefixes(model: str) -> Path:
    """A model's context prefixes."""
    return RESULTS / "artefacts" / f"model={model}" / "prefixes.json"


def rounding_job(model: str) -> Path:
    """The job that measures what rounding a model's weights does."""
    return RESULTS / "jobs" / "rounding" / f"model={model}.json"


def rounding(model: str) -> Path:
    """The table of what rounding a model's weights does."""
    return RESULTS / "rounding" / f"model={model}.parquet"


def texts_job(model: str, digest: str) -> Path:
    """The job in which a model writes the texts that its second moments are estimated from."""
    return RESULTS / "jobs" / "texts" / f"model={model}" / f"{digest}.json"


def texts(model: str, digest: str) -> Path:
    """The texts that a model has written."""
    return RESULTS / "artefacts" / f"model={model}" / f"texts-{digest}.json"


def moments_job(model: str, digest: str) -> Path:
    """The job that makes the second moments of some layers."""
    return RESULTS / "jobs" / "moments" / f"model={model}" / f"{digest}.json"


def moments(model: str, digest: str) -> Path:
    """The folder of those second moments."""
    return RESULTS / "artefacts" / f"model={model}" / f"moments-{digest}"


def spectra_job(model: str, digest: str) -> Path:
    """The job that decomposes the second moments of some layers."""
    return RESULTS / "jobs" / "spectra" / f"model={model}" / f"{digest}.json"


def spectra(model: str, digest: str) -> Path:
    """The folder of those decompositions."""
    return RESULTS / "artefacts" / f"model={model}" / f"spectra-{digest}"


def of_layer(folder: Path, layer: int) -> Path:
    """The second moment of one layer's keys, or its decomposition, in the folder of all layers."""
    return folder / f"layer-{layer}.safetensors"


def anchor_job(model: str, digest: str) -> Path:
    """The job that finds the norms of v* in a model before any edit."""
    return RESULTS / "jobs" / "anchors" / f"model={model}" / f"{digest}.json"


def anchor(model: str, digest: str) -> Path:
    """Those norms."""
    return RESULTS / "artefacts" / f"model={model}" / f"anchor-{digest}.safetensors"


def values_job(model: str, digest: str, dataset: str, shard: str) -> Path:
    """The job that searches for v* of one shard."""
    return RESULTS / "jobs" / "values" / _values(model, digest, dataset) / f"shard-{shard}.json"


def values(model: str, digest: str, dataset: str, shard: str) -> Path:
    """The v* of the cases of one shard."""
    return RESULTS / "artefacts" / _values(model, digest, dataset) / f"shard-{shard}.safetensors"


def _values(model: str, digest: str, dataset: str) -> Path:
    return Path(f"model={model}") / f"values-{digest}" / f"dataset={dataset}"


def train_job(model: str, digest: str) -> Path:
    """The job that trains an editor for a model."""
    return RESULTS / "jobs" / "train" / f"model={model}" / f"{digest}.json"


def trained(model: str, digest: str) -> Path:
    """What an editor has learnt about a model."""
    return RESULTS / "artefacts" / f"model={model}" / f"trained-{digest}.safetensors"


def edits_job(model: str, editor: str, dataset: str, shard: str) -> Path:
    """The job of one shard."""
    return _shard("jobs/edits", model, editor, dataset, shard, ".json")


def edits(model: str, editor: str, dataset: str, shard: str) -> Path:
    """The rows of one shard."""
    return _shard("edits", model, editor, dataset, shard, ".parquet")


def deltas(model: str, editor: str, dataset: str, shard: str) -> Path:
    """The weight changes of one shard."""
    return _shard("deltas", model, editor, dataset, shard, ".safetensors")


def answers(model: str, editor: str, dataset: str, shard: str) -> Path:
    """What the edited models of one shard answer freely."""
    return _shard("answers", model, editor, dataset, shard, ".parquet")


def sequences_job(model: str, editor: str, dataset: str, order: str) -> Path:
    """The job of one sequence of edits."""
    return _sequence("jobs/sequences", model, editor, dataset, order, ".json")


def sequences(model: str, editor: str, dataset: str, order: str) -> Path:
    """The rows of one sequence."""
    return _sequence("sequences", model, editor, dataset, order, ".parquet")


def downstream_job(model: str) -> Path:
    """The job of a model's tasks."""
    return RESULTS / "jobs" / "downstream" / f"model={model}.json"


def downstream(model: str) -> Path:
    """The scores of a model and of its edited ones."""
    return RESULTS / "downstream" / f"model={model}" / "scores.parquet"


def survival_job(model: str) -> Path:
    """The job that treats a model's edited ones and measures what is left of the edits."""
    return RESULTS / "jobs" / "survival" / f"model={model}.json"


def survival(model: str) -> Path:
    """The table of what is left of a model's edits."""
    return RESULTS / "survival" / f"model={model}.parquet"


def layers_job(model: str) -> Path:
    """The job that compares keys at every layer of a model."""
    return RESULTS / "jobs" / "layers" / f"model={model}.json"


def layers(model: str) -> Path:
    """The table of a model's keys at every layer."""
    return RESULTS / "layers" / f"model={model}.parquet"


def mechanism_job(model: str) -> Path:
    """The job of a model's experiments on why edits collapse it."""
    return RESULTS / "jobs" / "mechanism" / f"model={model}.json"


def mechanism(model: str) -> Path:
    """The folder of the tables of those experiments."""
    return RESULTS / "mechanism" / f"model={model}"


def mechanism_file(name: str) -> str:
    """The summary's file for such a table of all models."""
    return f"mechanism-{name}.parquet"


def summary(name: str) -> Path:
    """One of the tables that the report is made from."""
    return RESULTS / "summary" / f"{name}.parquet"


def _shard(kind: str, model: str, editor: str, dataset: str, shard: str, suffix: str) -> Path:
    return _group(kind, model, editor, dataset) / f"shard-{shard}{suffix}"


def _sequence(kind: str, model: str, editor: str, dataset: str, order: str, suffix: str) -> Path:
    return _group(kind, model, editor, dataset) / f"seed-{order}{suffix}"


def _group(kind: str, model: str, editor: str, dataset: str) -> Path:
    return RESULTS / kind / f"model={model}" / f"editor={editor}" / f"dataset={dataset}"
