"""What a study is: models, editors, data sets and how they are measured, as YAML says it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from editcore.errors import ConfigError
from editcore.explain import explain

# A label becomes a folder `model=<label>` and a wildcard of the workflow.
LABEL_PATTERN = r"[A-Za-z0-9_-][A-Za-z0-9_.-]*"
Label = Annotated[str, StringConstraints(pattern=f"^{LABEL_PATTERN}$")]
FloatType = Literal["float32", "float64", "bfloat16", "float16"]
MomentType = Literal["float32", "float64"]
DataFormat = Literal["auto", "counterfact", "flat", "zsre"]
Positive = Annotated[int, Field(ge=1)]


def _empty_if_none(value: Any) -> Any:
    """Let `rome:` with nothing behind it mean `rome: {}`."""
    return {} if value is None else value


class Section(BaseModel):
    """Base of every section: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelChoice(Section):
    """One model, and how it is loaded."""

    source: str | None = Field(
        default=None,
        min_length=1,
        description="A bundled model's name, a folder, or a hub id; the label if left out.",
    )
    dtype: FloatType = Field(
        default="float32", description="Number type of weights and activations."
    )
    device: str = Field(
        default="cpu",
        pattern=r"^(cpu|mps|cuda(:\d+)?)$",
        description="Where the model runs: cpu, cuda, cuda:1, or mps.",
    )
    revision: str | None = Field(
        default=None,
        description="Branch, tag or commit of a hub id; the newest if left out.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Whether code that comes with the model may run."
    )


class EditorChoice(Section):
    """One editor with its options."""

    uses: str | None = Field(
        default=None,
        min_length=1,
        description="The editor's name (see `editcore plugins`); the label if left out.",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="The editor's own options, checked by its plugin."
    )
    options_by_model: dict[Label, dict[str, Any]] = Field(
        default_factory=dict, description="Options that replace those above for one model's label."
    )


class DatasetChoice(Section):
    """A file of facts to edit, one edit per record."""

    path: str = Field(min_length=1, description="The data file, relative to the working directory.")
    limit: Positive | None = Field(
        default=None, description="Use the first so many records; all if left out."
    )
    format: DataFormat = Field(
        default="auto", description="The records' format; auto tells it from the first record."
    )


class PerplexitySpec(Section):
    """The texts whose perplexity says whether a model has collapsed."""

    path: str = Field(
        default="resources/world/perplexity.json",
        min_length=1,
        description="The file of texts, relative to the working directory.",
    )
    texts: Positive = Field(default=50, description="How many texts, from the start of the file.")


class PrefixChoice(Section):
    """The context prefixes that a model writes itself, once, from the study's seed."""

    lengths: tuple[tuple[Positive, Positive], ...] = Field(
        default=((5, 10), (10, 10)),
        min_length=1,
        description="Pairs of length in tokens and how many prefixes of that length.",
    )
    seeds: tuple[str, ...] = Field(
        default=("The", "Therefore", "Because", "I", "You"),
        min_length=1,
        description="The words that prefixes begin with, in turn.",
    )


class MomentChoice(Section):
    """The text from which the second moment C of a layer's keys is estimated."""

    path: str = Field(
        default="resources/world/moments.json",
        min_length=1,
        description="The file of texts, relative to the working directory.",
    )
    tokens: Positive = Field(default=200_000, description="How many tokens of it are used at most.")
    dtype: MomentType = Field(default="float32", description="Number type of C.")


class CollapseSpec(Section):
    """When an edited model counts as collapsed."""

    perplexity: float = Field(
        default=1000.0, gt=0, allow_inf_nan=False, description="Collapsed above this perplexity."
    )
    ratio: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Collapsed above this multiple of the unedited model's perplexity.",
    )
    verdict: Literal["ratio", "perplexity"] = Field(
        default="ratio", description="Which of the two the column `collapsed` follows."
    )


class StudyConfig(Section):
    """A study: every model is edited by every editor on every data set."""

    seed: int = Field(default=0, ge=0, description="Seed of everything that is drawn at random.")
    shard_size: Positive = Field(default=25, description="Edits per job of the workflow.")
    models: dict[Label, Annotated[ModelChoice, BeforeValidator(_empty_if_none)]] = Field(
        min_length=1, description="The models, by label."
    )
    editors: dict[Label, Annotated[EditorChoice, BeforeValidator(_empty_if_none)]] = Field(
        min_length=1, description="The editors, by label."
    )
    datasets: dict[Label, DatasetChoice] = Field(
        min_length=1, description="The data sets, by label."
    )
    perplexity: PerplexitySpec = Field(
        default=PerplexitySpec(), description="The texts that perplexity is measured on."
    )
    prefixes: PrefixChoice = Field(
        default=PrefixChoice(), description="Context prefixes, for keys and for prefixed tests."
    )
    moments: MomentChoice = Field(
        default=MomentChoice(), description="Text for the second moment of keys."
    )
    collapse: CollapseSpec = Field(default=CollapseSpec(), description="The collapse thresholds.")
    metrics: tuple[str, ...] = Field(
        default=("paper", "score"), description="Metrics of each edit (see `editcore plugins`)."
    )


def parse(raw: Mapping[str, Any], where: str) -> StudyConfig:
    """The study in `raw`; raises `ConfigError` naming every wrong key or value in `where`."""
    try:
        return StudyConfig.model_validate(dict(raw))
    except ValidationError as error:
        raise ConfigError(explain(error, StudyConfig, where)) from None


def load(path: Path) -> StudyConfig:
    """Read a study from a YAML file; raises `ConfigError` if missing, malformed or wrong."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: the config file cannot be read ({error.strerror}); give an existing YAML file"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: this is not valid YAML: {error}; correct that line") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected keys such as `models:` at the top, found none")
    return parse(raw, str(path))
