"""Jobs: what one command has to do, complete in itself, as one small JSON file; free of torch."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from editcore import atomic
from editcore.config import CollapseSpec, DataFormat, FloatType, MomentType, PerplexitySpec
from editcore.errors import ConfigError
from editcore.explain import explain

__all__ = [
    "CollapseSpec",
    "DatasetSpec",
    "EditJob",
    "EditorSpec",
    "Job",
    "ModelSpec",
    "MomentJob",
    "PerplexitySpec",
    "PrefixJob",
    "TransformSpec",
    "read",
    "write_if_changed",
]


class Job(BaseModel):
    """Base of every job and of its parts: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def as_json(self) -> str:
        """The job as JSON whose bytes depend on its content alone."""
        return self.model_dump_json(indent=2) + "\n"


class ModelSpec(Job):
    """A model and how it is loaded; `source` is a bundled name, a folder or a hub id."""

    name: str
    source: str
    dtype: FloatType = "float32"
    device: str = "cpu"
    revision: str | None = None
    trust_remote_code: bool = False


class TransformSpec(Job):
    """A transform of weight changes, its options, and the code that answers to its name."""

    uses: str
    options: dict[str, Any] = {}
    distribution: str = ""
    version: str = ""
    code: str = ""


class EditorSpec(Job):
    """An editor under its label, its options, and the code that answers to its name.

    `code` is a hash of the plugin's sources: a changed editor is a changed job.
    """

    label: str
    uses: str
    options: dict[str, Any] = {}
    distribution: str = ""
    version: str = ""
    code: str = ""
    transforms: tuple[TransformSpec, ...] = ()


class DatasetSpec(Job):
    """A data set under its label."""

    name: str
    path: str
    format: DataFormat = "auto"


class PrefixJob(Job):
    """Write the context prefixes of one model; `lengths` are pairs of (tokens, number)."""

    model: ModelSpec
    lengths: tuple[tuple[int, int], ...]
    seeds: tuple[str, ...]
    seed: int


class MomentJob(Job):
    """Estimate the second moment of one layer's keys from at most `tokens` tokens of text."""

    model: ModelSpec
    layer: int
    path: str
    tokens: int
    dtype: MomentType = "float32"
    seed: int = 0


class EditJob(Job):
    """Edit the cases of one shard, each from the unedited model, and measure each edited model.

    `prefixes` and `moments` (by layer) are the files of the artefacts that the edits read.
    """

    model: ModelSpec
    editor: EditorSpec
    dataset: DatasetSpec
    shard: int
    case_ids: tuple[int, ...]
    perplexity: PerplexitySpec
    collapse: CollapseSpec
    metrics: tuple[str, ...]
    seed: int
    prefixes: str | None = None
    moments: dict[int, str] = {}

    @property
    def names(self) -> tuple[str, str, str, str]:
        """Model, editor, data set and shard, as they stand in the paths of the results."""
        return self.model.name, self.editor.label, self.dataset.name, f"{self.shard:03d}"


JobT = TypeVar("JobT", bound=Job)


def read(kind: type[JobT], path: Path) -> JobT:
    """Read a job file; raises `ConfigError` where it is missing or is no job of this kind."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: the job file cannot be read ({error.strerror}); `editcore plan` writes it"
        ) from None
    except ValidationError as error:
        reason = explain(error, kind, str(path))
        raise ConfigError(f"{reason}\n`editcore plan` writes the job files anew") from None


def write_if_changed(path: Path, text: str) -> bool:
    """Write `text`, whole or not at all, where it differs from what is there; true if so.

    An unchanged file keeps its time, so that Snakemake sees no change.
    """
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    atomic.write_text(path, text)
    return True
