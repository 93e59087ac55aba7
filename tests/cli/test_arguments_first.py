"""Wrong arguments of a command are reported before anything heavy is imported."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from editcore.cli import COMMANDS
from editcore.cli.jobs import TABLE
from editcore.config.study import load
from editcore.planning.planner import plan
from tests.studies import model_files, record, study_config, write_config, write_data, write_json

# Each command runs in its own process, forked from one that has the imports of planning.
CALLS = """
import json, sys
from multiprocessing import get_context
from click.testing import CliRunner
from editcore.cli import main
import editcore.planning.planner

def outcome(arguments):
    result = CliRunner().invoke(main, arguments)
    heavy = [name for name in ("torch", "transformers", "lm_eval") if name in sys.modules]
    return result.exit_code, result.output, heavy

with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
    json.dump(pool.map(outcome, json.load(sys.stdin), chunksize=1), sys.stdout)
"""
FACT = ("--prompt", "{} is", "--subject", "A", "--target", "B")
UNNAMED = ("--prompt", "It is", "--target", "B")
ROME = ("--editor", "rome")
OWN = ("--model", "model", *ROME)
TASK = "world_cloze"
STUDY = study_config(
    editors={
        "rome": {"options": {"layer": 1}},
        "mend": {"options": {"layers": [1, 2]}},
        "alphaedit": {
            "options": {"layers": [1, 2]},
            "transforms": [{"uses": "nas", "options": {"facts": "data/more.json"}}],
        },
    },
    sequences={"editors": ["rome"], "edits": 2},
    downstream={"tasks": [TASK]},
    survival={},
    layers={},
    moments={"source": "model"},
    mechanism={"editor": "rome", "hard": "facts", "normal": "facts"},
)
JOBS = Path("results") / "jobs"
LIST = str(JOBS / "study.json")
# The folder of a command's jobs in a planned study.
PLACES = {
    "edit": "edits",
    "sequence": "sequences",
    "spectrum": "spectra",
    "anchor": "anchors",
    "survive": "survival",
}
BELOW_A_FILE = "bad.json/out"


@dataclass(frozen=True)
class Wrong:
    """A command line, and what its error must contain."""

    arguments: tuple[str, ...]
    error: str

    def __str__(self) -> str:
        return f"{self.arguments[0]}: {self.error}"


HARDEN = ("harden", "--count", "3", "--tokenizer", "tiny-gpt2", "--out", "o.json")
EXPORT = ("export", "--format", "peft")
FILES = ("--words", "words.json", "--relations", "relations.json")
FILTER = ("--filter-editor", "rome", "--study", "study.yaml")
CONTAINS = ("--judge", "contains")
BY_MODEL = ("--judge", "model", "--set")
MEASURE = ("measure", "--against", "model")
FOR_PEOPLE = (
    Wrong(("check", "--model", "tiny-gpt", *ROME, *FACT), "Did you mean 'tiny-gpt2'?"),
    Wrong(("check", "--model", "model", "--editor", "romee", *FACT), "Did you mean 'rome'?"),
    Wrong(("calibrate", *OWN, "--set", "layr=1"), "Did you mean 'layer'?"),
    Wrong(("calibrate", *OWN, "--cases", "1"), "1 is not in the range"),
    Wrong(("check", *OWN, *FACT, "--set", "layer=9"), "layer 9 is outside the model"),
    Wrong(("check", *OWN, *FACT, "--set", "layer={"), "--set layer"),
    Wrong(("check", *OWN, *FACT, "--set", "layr=1"), "Did you mean 'layer'?"),
    Wrong(("check", *OWN, *FACT, "--config", "none.yaml"), "none.yaml"),
    Wrong(("check", *OWN, *FACT, "--neighbour", "x"), "give two parts with '='"),
    Wrong(("check", *OWN, *FACT, "--prompt", "It is"), "needs one '{}'"),
    Wrong(("check", *OWN, *UNNAMED), "names no subject, and the editor 'rome' needs one"),
    Wrong(("check", *OWN, *FACT, "--save", BELOW_A_FILE), "cannot be written"),
    Wrong(("check", *OWN, *FACT, "--cache", BELOW_A_FILE), "cannot be written"),
    Wrong(("check", *OWN, *FACT, "--chat"), "'model' has no chat template"),
    Wrong(("guard", "data/facts.json", *OWN, "--chat", "--out", "o"), "has no chat template"),
    Wrong(("guard", "none.json", *OWN, "--out", "o"), "none.json"),
    Wrong(("guard", "bad.json", *OWN, "--out", "o"), "bad.json"),
    Wrong(("guard", "data/facts.json", "--model", "none/at/all", *ROME, "--out", "o"), "none/at"),
    Wrong(("guard", "data/facts.json", *OWN, "--set", "layer=9", "--out", "o"), "layer 9 is"),
    Wrong(("guard", "data/facts.json", *OWN, "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("guard", "data/facts.json", *OWN, "--out", "o", "--limit", "0"), "--limit"),
    Wrong((*MEASURE, "--model", "none/at/all"), "no model folder 'none/at/all'"),
    Wrong(("measure", "--model", "model", "--against", "tiny-gpt"), "Did you mean 'tiny-gpt2'?"),
    Wrong((*MEASURE, "--model", "tiny-llama"), "'llama' and 'gpt2' as model_type"),
    Wrong((*MEASURE, "--model", "model", "--facts", "none.json"), "none.json"),
    Wrong((*MEASURE, "--model", "model", "--facts", "bad.json"), "bad.json"),
    Wrong((*MEASURE, "--model", "model", "--tasks", "none.yaml"), "no task file none.yaml"),
    Wrong((*MEASURE, "--model", "model", "--config", "none.yaml"), "none.yaml"),
    Wrong((*MEASURE, "--model", "model", "--cache", BELOW_A_FILE), "cannot be written"),
    Wrong(("guard", "data/facts.json", *OWN, "--format", "xml"), "'xml' is not one of"),
    Wrong(("guard", "data/facts.json", *OWN, "--report", BELOW_A_FILE), "cannot be written"),
    Wrong(("publish", "data", "--to", "wandb", "--name", "n"), "contains no finished study"),
    Wrong(("publish", "none", "--to", "hub", "--name", "n"), "none"),
    Wrong(("publish", "data", "--to", "hub", "--name", "n"), "has no config.json"),
    Wrong(("publish", "data", "--to", "mlflow", "--name", "n", "--public"), "only for --to hub"),
    Wrong(("data", "none.json"), "none.json"),
    Wrong(("data", "bad.json"), "bad.json"),
    Wrong(("data", "data/facts.json", "--format", "none"), "unknown data-set format 'none'"),
    Wrong(("data", "data/facts.json", "--preview", "-1"), "--preview"),
    Wrong(("data", "data/facts.json", "--columns", "prompt"), "write the part of a fact"),
    Wrong(("data", "data/facts.json", "--columns", "prompt=a,target_new=b"), "no column 'a'"),
    Wrong(("apply", "none", "model", "--out", "o"), "none"),
    Wrong(("apply", "bad.json", "model", "--out", "o"), "bad.json"),
    Wrong(("apply", "bad.json", "none/at/all", "--out", "o"), "no model folder 'none/at/all'"),
    Wrong(("apply", "bad.json", "tiny-gpt2", "--in-place"), "is a bundled model"),
    Wrong(("apply", "bad.json", "model", "--out", "data"), "data already exists"),
    Wrong(("apply", "bad.json", "model", "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("apply", "bad.json", "model"), "give either --out FOLDER"),
    Wrong(("revert", "none"), "none"),
    Wrong(("revert", "model"), "editcore has applied nothing here"),
    Wrong(("revert", "model", "--edit", "4"), "carries no edit 4; there are none"),
    Wrong(("revert", "model", "--edit", "4", "--all"), "give either --all or --edit ID"),
    Wrong(("log", "none"), "there is no folder none"),
    Wrong(("log", "model"), "editcore has applied nothing here"),
    Wrong(("verify", "model", "--grade"), "editcore has applied nothing here"),
    Wrong((*EXPORT, "none", "model", "--out", "o"), "none"),
    Wrong((*EXPORT, "bad.json", "model", "--out", "o"), "bad.json"),
    Wrong((*EXPORT, "bad.json", "none/at/all", "--out", "o"), "no model folder 'none/at/all'"),
    Wrong((*EXPORT, "bad.json", "model", "--out", "data"), "data already exists"),
    Wrong((*EXPORT, "bad.json", "model", "--out", BELOW_A_FILE), "cannot be written"),
    Wrong((*EXPORT, "bad.json", "model", "--out", "o", "--each", "--case", "1"), "leave --case"),
    Wrong((*EXPORT, "bad.json", "model", "--out", "o", "--rank", "0"), "--rank"),
    Wrong(("export", "bad.json", "model", "--format", "model", "--out", "o", "--each"),
          "are for adapters"),
    Wrong(("export", "bad.json", "model", "--format", "onnx", "--out", "o"), "'onnx' is not one"),
    Wrong(("fits", "none", "model"), "editcore.json"),
    Wrong(("fits", "data", "none/at/all"), "no model folder 'none/at/all'"),
    Wrong((*HARDEN, "--words", "none.json", *FILES[2:]), "none.json"),
    Wrong((*HARDEN, *FILES[:2], "--relations", "bad.json"), "bad.json"),
    Wrong((*HARDEN, *FILES, "--tokenizer", "none/at/all"), "no model folder 'none/at/all'"),
    Wrong((*HARDEN, *FILES, *FILTER), "go together"),
    Wrong((*HARDEN, *FILES, "--chat"), "--chat is for the models of a filter"),
    Wrong((*HARDEN, *FILES, *FILTER, "--filter-model", "tini"), "Did you mean 'tiny'?"),
    Wrong((*HARDEN[:-1], BELOW_A_FILE, *FILES), "cannot be written"),
    Wrong(("init", "data"), "data already exists"),
    Wrong(("init", BELOW_A_FILE), "cannot be written"),
    Wrong(("init", "o", "--model", "tiny-gpt"), "Did you mean 'tiny-gpt2'?"),
    Wrong(("init", "o", "--facts", "none.json"), "none.json"),
    Wrong(("init", "o", "--facts", "bad.json"), "bad.json"),
    Wrong(("run", "-n"), "contains no study (no Snakefile)"),
    Wrong(("plan", "none.yaml"), "none.yaml"),
    Wrong(("plan", "bad.json"), "bad.json"),
    Wrong(("mine", "--cases", "none.parquet", "--out", "o"), "none.parquet"),
    Wrong(("mine", "--cases", "none.parquet", "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("report", "--summary", "none", "--figures", "f", "--out", "o", "--study", "none.json"),
          "the study manifest"),
    Wrong(("report", "--summary", "none", "--figures", "f", "--out", BELOW_A_FILE, "--study", "s"),
          "cannot be written"),
    Wrong(("backtest", "none"), "none/summary/cases.parquet"),
    Wrong(("backtest", "none", "--calibration", BELOW_A_FILE), "cannot be written"),
    Wrong(("compare", "data"), "two studies or more"),
    Wrong(("compare", "none", "data"), "none has no summary/cases.parquet"),
    Wrong(("compare", "data", "./data"), "data is the same folder as"),
    Wrong(("compare", "data", "none", "--as", "rome"), "--as 'rome'"),
    Wrong(("compare", "data", "none", "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("rescore", "none", *CONTAINS, "--out", "o"), "there is no file or folder none"),
    Wrong(("rescore", "data", *CONTAINS, "--out", "o"), "data: has no answers"),
    Wrong(("rescore", "bad.json", *CONTAINS, "--out", "o"), "not a whole Parquet file"),
    Wrong(("rescore", "data", *CONTAINS, "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("rescore", "data", "--judge", "contain", "--out", "o"), "Did you mean 'contains'?"),
    Wrong(("rescore", "data", *BY_MODEL, "source=none/at/all", "--out", "o"), "no model folder"),
    Wrong(("rescore", "data", *BY_MODEL, "template=x", "--out", "o"), "it has no {question}"),
    Wrong(("rescore", "data", *CONTAINS, "--set", "x=1", "--out", "o"), "x: unknown key"),
    Wrong(("provenance", "none.parquet"), "none.parquet"),
    Wrong(("doctor", "--results", "bad.json"), "bad.json"),
    Wrong(("plugins", "--jsn"), "--json"),
    Wrong(("schema", "x"), "unexpected extra argument"),
    Wrong(("new-plugin", "-x-"), "No such option"),
    Wrong(("new-plugin", "mine", "--into", BELOW_A_FILE), "cannot be written"),
)  # fmt: skip
# Whoever runs them: root may write anywhere, and replace a device by a file.
UNWRITABLE = (
    *(Wrong((*HARDEN[:-1], place, *FILES), f"{place} cannot be written")
      for place in ("/dev/null", "/dev/stdout", "/proc/o.json")),
    *(Wrong(("guard", "data/facts.json", *OWN, "--out", place), f"{place} cannot be written")
      for place in ("/dev/null", "/dev/null/x", "/proc/o")),
    Wrong((*HARDEN[:-1], "data", *FILES), "'data' is a directory"),
    Wrong(("check", *OWN, *FACT, "--save", "bad.json"), "'bad.json' is a file"),
)  # fmt: skip
OF_TABLES = (
    Wrong(("fetch", "--study", "none.json", "--out", "o"), "the study manifest"),
    Wrong(("fetch", "--study", "none.json", "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("summarise", "--study", "none.json", "--out", "o"), "the study manifest"),
    Wrong(("summarise", "none.parquet", "--out", "o"), "none.parquet"),
    Wrong(("summarise", "none.parquet", "--out", BELOW_A_FILE), "cannot be written"),
    Wrong(("correlate", "--study", "none.json", "--out", "o"), "the study manifest"),
    Wrong(("correlate", "none.parquet", "--out", "o"), "none.parquet"),
    Wrong(("correlate", "--study", LIST, "--cases", "none.parquet", "--out", "o"),
          "there is no file none.parquet"),
    Wrong(("mechanism-tables", "none", "--cases", "none.parquet", "--out", "o"), "none"),
)  # fmt: skip


def of_jobs() -> Iterator[Wrong]:
    """For each command with a job: no job, one of another kind, and ones with a wrong name."""
    for entry in TABLE:
        outs = [word for output in entry.outputs for word in (f"--{output.option}", "o")]
        below = [*outs[:-1], BELOW_A_FILE]
        kinds = {"none.json": "the job file cannot be read", "bad.json": "bad.json"}
        kinds |= {f"{entry.name}-source.json": "there is no model folder 'none/at/all'"}
        if entry.name in ("train", "edit", "sequence", "mechanism"):
            kinds |= {f"{entry.name}-uses.json": "unknown editor 'romee'"}
            kinds |= {f"{entry.name}-options.json": "unknown key"}
        if entry.name in (
            "spectrum",
            "anchor",
            "values",
            "edit",
            "sequence",
            "downstream",
            "survive",
            "layers",
            "mechanism",
        ):
            kinds |= {f"{entry.name}-as-planned.json": "there is no file results/"}
        for job, error in kinds.items():
            yield Wrong((entry.name, "--job", job, *outs), error)
        planned = (entry.name, "--job", f"{entry.name}-as-planned.json")
        yield Wrong((*planned, *below), "be written")
        yield Wrong((*planned, *outs, "--usage", ""), "it has no name")


def spoilt(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A planned job with one name changed to something that does not exist."""
    out = {"as-planned": job, "source": job | {"model": job["model"] | {"source": "none/at/all"}}}
    if "editor" in job:
        out["uses"] = job | {"editor": job["editor"] | {"uses": "romee"}}
        out["options"] = job | {"editor": job["editor"] | {"options": {"layr": 1}}}
    return out


ALL = (*FOR_PEOPLE, *UNWRITABLE, *of_jobs(), *OF_TABLES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planned study of a model that cannot be loaded, with its jobs, each with one error."""
    folder = tmp_path_factory.mktemp("arguments")
    (folder / "bad.json").write_text("{")
    (folder / "words.json").write_text(json.dumps({"words": {"animal": ["dog"]}}))
    relation = {"id": "r", "template": "{} is", "paraphrases": ["a {} is"]}
    relation |= {"kinds": ["animal"], "objects": ["big", "small"]}
    (folder / "relations.json").write_text(json.dumps({"relations": [relation]}))
    model_files(folder / "model")
    write_data(folder)
    more = [record(number, f"Coral {number}") for number in range(10)]
    write_json(folder / "data" / "more.json", more)
    write_config(folder / "study.yaml", STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        plan(load(Path("study.yaml")), "study.yaml").write()
        for entry in TABLE:
            job = next((JOBS / PLACES.get(entry.name, entry.name)).rglob("*.json"))
            for name, content in spoilt(json.loads(job.read_text())).items():
                Path(f"{entry.name}-{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[Wrong, tuple[int, str, list[str]]]:
    """Exit status, output, and heavy modules imported, of every command line."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS], cwd=folder, capture_output=True, text=True, check=True,
        input=json.dumps([wrong.arguments for wrong in ALL]),
    )  # fmt: skip
    return dict(zip(ALL, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("wrong", ALL, ids=str)
def test_a_wrong_argument_is_reported_before_torch_is_imported(
    wrong: Wrong, outcomes: dict[Wrong, tuple[int, str, list[str]]]
) -> None:
    status, output, heavy = outcomes[wrong]
    assert status == 2, output
    assert wrong.error in output
    assert heavy == []


def test_every_command_is_among_them() -> None:
    assert {wrong.arguments[0] for wrong in ALL} == {command.name for command in COMMANDS}
