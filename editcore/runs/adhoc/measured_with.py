"""What a verdict was measured with: texts, second moments, layers and numbers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from editcore.config.study import StudyConfig
from editcore.datasets.bundled import resources_folder
from editcore.numbers import numbered, plural
from editcore.planning.jobs import TextJob
from editcore.planning.sources import moment_texts
from editcore.records import provenance

if TYPE_CHECKING:
    from editcore.planning.jobs import EditJob
    from editcore.runs.edit_rows import Rows

Origin = Literal["file", "own texts", "published statistics"]


@dataclass(frozen=True)
class MomentSource:
    """Where the C of an edit is from: `tokens` tokens of a file, or of texts by the model.

    Published statistics are read from `file` and counted over `tokens` keys.
    """

    origin: Origin
    file: str
    tokens: int

    def __str__(self) -> str:
        tokens = f"{self.tokens:,} tokens"
        return {
            "file": f"C from {tokens} of {self.file}",
            "own texts": f"C from {tokens} of the model's own texts",
            "published statistics": f"C from the published {self.file} ({tokens})",
        }[self.origin]


@dataclass(frozen=True)
class MeasuredWith:
    """What the numbers of a verdict depend on; `str` is all of it in one sentence.

    `moments` is None if the editor does not use C. `layers` are empty if its options name none.
    """

    perplexity_file: str
    perplexity_texts: int
    moments: MomentSource | None
    layers: tuple[int, ...]
    dtype: str
    precision: str
    stored_as: str | None

    def __str__(self) -> str:
        parts = [
            f"{plural(self.perplexity_texts, 'text')} of {self.perplexity_file}",
            str(self.moments) if self.moments else "no C",
            *([numbered("layer", self.layers)] if self.layers else []),
            self._numbers(),
        ]
        return f"Measured with: {'; '.join(parts)}."

    def _numbers(self) -> str:
        """Dtype, the precision of the passes if it differs, and the kind of number on disk."""
        passes = f", passes in {self.precision}" if self.precision != "float32" else ""
        stored = f" (stored as {self.stored_as})" if self.stored_as else ""
        return f"{self.dtype}{passes}{stored}"

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, and the sentence."""
        return {**asdict(self), "sentence": str(self)}


def measured_with(rows: "Rows", config: StudyConfig) -> MeasuredWith:
    """What the rows of a job of `config` are measured with, from the job and its artefacts."""
    job = rows.job
    return MeasuredWith(
        documented(job.perplexity.path),
        job.perplexity.texts,
        _moment_source(job, config),
        tuple(rows.editor.config.edited_layers()),
        job.model.dtype,
        job.model.precision,
        rows.stored_as,
    )


def _moment_source(job: "EditJob", config: StudyConfig) -> MomentSource | None:
    """Where the moments are from, by the provenance in their own files; all are of one job."""
    if not job.moments:
        return None
    about = [provenance.read(Path(path)) for path in job.moments.values()]
    made_by: Mapping[str, Any] = about[0]["job"]
    tokens, file = int(about[0]["tokens"]), documented(about[0]["made_from"])
    if made_by["published"] is not None:
        return MomentSource("published statistics", documented(made_by["published"]), tokens)
    own = isinstance(moment_texts(config.moments, job.model, job.seed), TextJob)
    return MomentSource("own texts" if own else "file", file, tokens)


def documented(path: str) -> str:
    """A path as the documentation has it: a bundled file's begins with `resources`."""
    root = resources_folder()
    place = Path(path).resolve()
    if root is None or not place.is_relative_to(root.resolve()):
        return path
    return str(Path("resources") / place.relative_to(root.resolve()))
