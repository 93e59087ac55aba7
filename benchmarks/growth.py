"""How seconds and memory grow with the cases of a shard, a model's layers, and a study's jobs.

Every size is measured in a process of its own that runs what users run: `editcore edit` with a
planned job, or Snakemake with a study.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
import torch
import yaml
from tqdm import tqdm
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import AutoConfig

from benchmarks.process import CommandFailed, Used, used
from benchmarks.results import OUT, finish, machine, numbers
from benchmarks.workload import bundled
from editcore.config.study import parse
from editcore.datasets.bundled import data_file
from editcore.datasets.writers import flat_record
from editcore.errors import EditcoreError
from editcore.models.loading import load_tokenizer
from editcore.models.quiet import quiet_for_folders
from editcore.numbers import listed, number, plural
from editcore.planning.planner import plan
from editcore.runs.artefacts import write_prefixes
from editcore.text_table import text_table

EDITCORE = (sys.executable, "-P", "-c", "import editcore_start; editcore_start.editcore_here()")
SNAKEMAKE = (sys.executable, "-P", "-m", "snakemake")
SNAKEFILE = Path(__file__).parents[1] / "workflow" / "Snakefile"
THREADS = 1  # of each job, as in the workflow
# A job's own work is small, so that what is measured is the cost of having one more.
SMALL_JOBS: Mapping[str, Any] = MappingProxyType(
    {"shard_size": 1, "metrics": ["accuracy"], "continuation_tokens": 0, "forecasts": False}
)
SMALL_STEPS, SMALL_TEXTS = 2, 2
# Each case of such a study has two jobs; the others are prefixes, rounding twice, summary, report.
JOBS_OF_A_CASE, OTHER_JOBS = 2, 5
DONE = re.compile(r"^Done: ([\d,]+) jobs", re.MULTILINE)
# The width of SmolLM2-135M, with the tokenizer and thus the vocabulary of the bundled Llama.
TOKENIZER = "tiny-llama"
WIDTH: Mapping[str, int] = MappingProxyType(
    {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 512,
    }
)
# What a size used, by the name that its growth has in a sentence.
MEASURED: Mapping[str, str] = MappingProxyType(
    {"seconds": "s", "cpu": "s of processor time", "memory": "MB"}
)


@dataclass(frozen=True)
class Setting:
    """What all sizes of an axis share; the model is not that of the axis of layers."""

    model: str = "tiny-gpt2"
    layer: int = 2
    steps: int = 20
    texts: int = 5
    edits: int = 4  # cases for each number of layers
    cores: int = 2  # for each number of jobs


@dataclass(frozen=True)
class Row:
    """A size that was measured, and what it used."""

    size: int
    used: Used


Measure = Callable[[int, Setting, Path], Row]


@dataclass(frozen=True)
class Growth:
    """The rows of an axis, by increasing size; `unit` is what one more is called."""

    unit: str
    rows: Sequence[Row]

    def slopes(self, name: str) -> list[float]:
        """What one more unit used, of `seconds`, `cpu` or `memory`, from each size to the next."""
        return [
            (getattr(after.used, name) - getattr(before.used, name)) / (after.size - before.size)
            for before, after in pairwise(self.rows)
        ]

    def table(self) -> str:
        """The rows as Markdown."""
        heads = (f"{self.unit}s", "seconds", "CPU s", "MB", f"s per {self.unit}")
        cells = [
            (
                f"{row.size:,}",
                *map(number, (row.used.seconds, row.used.cpu, row.used.memory)),
                number(row.used.seconds / row.size),
            )
            for row in self.rows
        ]
        return text_table(heads, cells)

    def sentences(self) -> list[str]:
        """How straight the growth is: what a further unit costs in each interval, and the ratio.

        Empty with one size only.
        """
        return [self._sentence(name, unit) for name, unit in MEASURED.items() if self.rows[1:]]

    def _sentence(self, name: str, unit: str) -> str:
        slopes = self.slopes(name)
        costs = [
            f"{number(slope)} {unit} from {before.size:,} to {after.size:,}"
            for slope, (before, after) in zip(slopes, pairwise(self.rows), strict=True)
        ]
        found = f"A further {self.unit} costs {listed(costs)}"
        if slopes[1:] and slopes[0] > 0:
            found += f"; the last is {slopes[-1] / slopes[0]:.2f} times the first"
        return f"{found}."

    def as_json(self) -> dict[str, Any]:
        """Rows and slopes."""
        return {
            "rows": [{"size": row.size, **vars(row.used)} for row in self.rows],
            "slopes": {name: self.slopes(name) for name in MEASURED},
        }


def of_cases(size: int, setting: Setting, folder: Path) -> Row:
    """One shard of that many cases of a bundled model."""
    return Row(size, edited(setting, size, folder))


def of_layers(size: int, setting: Setting, folder: Path) -> Row:
    """Some cases in a random model of that many layers, edited at the first."""
    model = write_llama(folder / "model", size)
    return Row(size, edited(replace(setting, model=str(model), layer=0), setting.edits, folder))


def of_jobs(size: int, setting: Setting, folder: Path) -> Row:
    """A whole study of about that many jobs, from Snakemake's start to the report.

    The size of the row is the number of jobs that there were.
    """
    small = replace(setting, steps=SMALL_STEPS, texts=SMALL_TEXTS)
    cases = max(1, (size - OTHER_JOBS) // JOBS_OF_A_CASE)
    config, log = folder / "study.yaml", folder / "log"
    config.write_text(yaml.safe_dump(study(small, cases, folder) | dict(SMALL_JOBS)))
    given = ["--snakefile", SNAKEFILE, "--configfile", config, "--cores", setting.cores]
    found = used([*SNAKEMAKE, *map(str, given)], folder, log)
    counted = DONE.search(log.read_text())
    assert counted is not None
    return Row(int(counted[1].replace(",", "")), found)


AXES: Mapping[str, tuple[str, Measure]] = MappingProxyType(
    {"cases": ("case", of_cases), "layers": ("layer", of_layers), "jobs": ("job", of_jobs)}
)


def along(axis: str, sizes: Sequence[int], setting: Setting) -> Growth:
    """The growth along an axis; each row is printed on standard error when it is done.

    Raises `CommandFailed` if a size cannot be run.
    """
    unit, measure = AXES[axis]
    rows: dict[int, Row] = {}
    with tqdm(sorted({*sizes}), desc=axis, unit="size") as bar:
        for size in bar:
            with tempfile.TemporaryDirectory() as folder:
                row = measure(size, setting, Path(folder))
            rows[row.size] = row
            taken = f"{number(row.used.seconds)} s, {number(row.used.memory)} MB"
            bar.write(f"{plural(row.size, unit)}: {taken}", file=sys.stderr)
    return Growth(unit, list(rows.values()))


def edited(setting: Setting, cases: int, folder: Path) -> Used:
    """What `editcore edit` uses for one shard of cases, with v* found in the same process."""
    config = study(setting, cases, folder) | {"shard_size": cases}
    planned = plan(parse(config, "the study"), "the study")
    (prefix_job,) = planned.prefixes.values()
    (job,) = planned.edits.values()
    write_prefixes(prefix_job, folder / job.prefixes)
    file = folder / "job.json"
    file.write_text(job.model_copy(update={"values": ()}).as_json())
    outputs = ["--out", "edits.parquet", "--deltas", "deltas.safetensors"]
    command = [*EDITCORE, "edit", "--job", str(file), *outputs]
    return used(command, folder, folder / "log", OMP_NUM_THREADS=str(THREADS))


def study(setting: Setting, cases: int, folder: Path) -> dict[str, Any]:
    """A study of ROME without C on bundled facts, which are taken again if there are too few."""
    workload = bundled()
    facts, templates = folder / "facts.json", folder / "templates.json"
    facts.write_text(json.dumps([flat_record(case) for case in workload.cases(0, cases)]))
    templates.write_text(json.dumps(workload.templates[1:]))
    # Commands run in another folder.
    model, texts = Path(setting.model), Path(data_file("resources/world/perplexity.json")).resolve()
    options = {"layer": setting.layer, "steps": setting.steps, "second_moment": False}
    return {
        "models": {"model": {"source": str(model.resolve() if model.exists() else model)}},
        "editors": {"rome": {"options": options}},
        "datasets": {"facts": {"path": str(facts)}},
        "perplexity": {"path": str(texts), "texts": setting.texts},
        "prefixes": {"path": str(templates)},
    }


def write_llama(folder: Path, layers: int) -> Path:
    """A Llama with random weights from seed 0, as wide as SmolLM2-135M."""
    tokenizer = load_tokenizer(TOKENIZER)
    shape = {**WIDTH, "num_hidden_layers": layers, "vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **shape))
    folder.mkdir()
    with quiet_for_folders(str(folder)):
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@click.command()
@click.option(
    "--axis",
    "axes",
    type=click.Choice(list(AXES)),
    multiple=True,
    help="Only this axis; can be given twice. By default all.",
)
@click.option(
    "--cases",
    default="10,100,1000,10000",
    show_default=True,
    help="Cases in a shard. Bundled facts are taken again if there are more cases than facts.",
)
@click.option("--layers", default="1,3,10,30", show_default=True, help="Layers of random Llamas.")
@click.option(
    "--jobs",
    default="60,200,600,2000",
    show_default=True,
    help="Jobs of a study, about; each has one case.",
)
@click.option(
    "--model",
    default=Setting.model,
    show_default=True,
    help="Any source of a model, for cases and jobs.",
)
@click.option(
    "--layer", default=Setting.layer, show_default=True, help="The layer of it that is edited."
)
@click.option(
    "--texts", default=Setting.texts, show_default=True, help="Texts for perplexity, but of jobs."
)
@click.option(
    "--steps",
    default=Setting.steps,
    show_default=True,
    help="Steps of the search for v*, but of jobs.",
)
@click.option("--cores", default=Setting.cores, show_default=True, help="Jobs at a time.")
@OUT
def growth(
    axes: tuple[str, ...], cases: str, layers: str, jobs: str, out: Path | None, **given: Any
) -> None:
    """How seconds and memory grow with the cases of a shard, a model's layers, a study's jobs.

    Each size is measured in a process of its own: ROME's edits without C by `editcore edit`, with
    one thread, and studies of one case a job by Snakemake. Seconds are from its start to its end;
    CPU is its processor time and that of all processes that it started; MB is its own peak, of
    Snakemake without its jobs.
    """
    sizes = {"cases": cases, "layers": layers, "jobs": jobs}
    found: dict[str, Any] = {}
    for axis in axes or AXES:
        try:
            grown = along(axis, numbers(sizes[axis]), Setting(**given))
        except (CommandFailed, EditcoreError) as error:
            raise click.ClickException(str(error)) from error
        found[axis] = grown.as_json()
        click.echo("\n".join([grown.table(), *grown.sentences(), ""]))
    where = machine({"device": "cpu", "precision": "float32", "folder": None})
    finish(found | where | {"threads": THREADS}, out)
