"""A small finished study with every kind of file that a command reads, to be damaged."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from editcore.cli import main
from editcore.config.study import load
from editcore.planning import paths
from editcore.planning.planner import plan
from editcore.testing.models import save_tiny_model
from tests.studies import record, write_config, write_data, write_json

SUMMARY = paths.RESULTS / "summary"
STUDY_FILE = str(paths.STUDY_FILE)
CASES = str(SUMMARY / "cases.parquet")
FACT = ("--prompt", "{} is made by", "--subject", "Coral", "--target", "Osdor")
ROME = ("--editor", "rome", "--set", "layer=1", "--set", "steps=2", "--config", "study.yaml")

# Each run of a command takes a fraction of a second.
STUDY: dict[str, Any] = {
    "shard_size": 4,
    "models": {"tiny": {"source": "model"}},
    "editors": {
        "rome": {"options": {"layer": 1, "steps": 2}},
        "memit": {"options": {"layers": [0, 1], "steps": 2, "moment_weight": 10.0}},
        "ft": {"options": {"layer": 1, "steps": 2}},
        "mend": {
            "options": {
                "layers": [1], "steps": 2, "batch": 2, "rank": 4, "data": "data/facts.json",
                "exclude": [], "validate_every": 1, "neighbours": 1, "paraphrases": 1,
            }
        },
    },
    "datasets": {"facts": {"path": "data/facts.json"}},
    "perplexity": {"path": "data/texts.json", "texts": 2},
    "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
    "moments": {"path": "data/texts.json", "tokens": 500},
    "metrics": ["accuracy", "score"],
    "continuation_tokens": 3,
    "collapse": {"ratio": 1.0001},
    "sequences": {"editors": ["rome"], "edits": 2, "every": 1, "checks": [1]},
    "downstream": {"tasks": ["data/task.yaml"], "count": 1, "top": 1, "limit": 2, "resamples": 9},
    "layers": {"cases": 2},
    "mechanism": {
        "editor": "rome", "hard": "facts", "normal": "facts", "cases": 2, "prefix_lengths": [0, 1],
    },
}  # fmt: skip
TASK = """
task: task
dataset_path: json
dataset_kwargs: {data_files: {test: data/items.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Question: {{question}}\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
"""
ITEMS = [{"question": f"Who makes {n}?", "choices": ["Elro", "Osdor"], "answer": n} for n in (0, 1)]
WORDS = {"words": {"thing": ["Coral", "Harbor", "Tavel"], "animal": ["lamp", "sea"]}}
RELATIONS = {
    "relations": [
        {
            "id": "P1",
            "template": "{} is made by",
            "paraphrases": ["The maker of {} is"],
            "kinds": ["thing"],
            "objects": ["Elro", "Osdor"],
            "neighbours": ["Harbor"],
        }
    ]
}
COUNTERFACT = {
    "case_id": 3,
    "requested_rewrite": {
        "prompt": "{} is made by",
        "subject": "Coral",
        "target_new": {"str": "Osdor"},
        "target_true": {"str": "Elro"},
        "relation_id": "P1",
    },
    "paraphrase_prompts": ["The maker of Coral is"],
    "neighborhood_prompts": ["Harbor is made by"],
}
ZSRE = {
    "case_id": 4,
    "src": "Who makes Coral?",
    "subject": "Coral",
    "alt": "Osdor",
    "answers": ["Elro"],
    "rephrase": "What company makes Coral?",
    "loc": "nq question: who makes Harbor",
    "loc_ans": "Elro",
}
RECORDS: tuple[dict[str, Any], ...] = (record(10, "Coral"), COUNTERFACT, ZSRE)


def run(*arguments: object) -> None:
    """Run a command that must succeed."""
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == 0, (arguments, result.output, result.exc_info)


def make(folder: Path) -> None:
    """Run all stages of the study in the working directory `folder`."""
    save_tiny_model("gpt2", folder / "model")
    write_data(folder)
    (folder / "data" / "task.yaml").write_text(TASK)
    lines = "".join(json.dumps(item) + "\n" for item in ITEMS)
    (folder / "data" / "items.jsonl").write_text(lines)
    write_json(folder / "data" / "words.json", WORDS)
    write_json(folder / "data" / "relations.json", RELATIONS)
    write_config(folder / "study.yaml", STUDY)
    for file in folder.rglob("*"):
        os.utime(file, (0, 0))  # the names of cached artefacts depend on it
    run("plan", "study.yaml")
    for _, arguments in jobs(Path()):
        run(*arguments)
    for arguments in summaries():
        if arguments[0] != "report":
            run(*arguments)
    # The study's own threshold is so near that rounding decides which edits it refuses.
    write_config(folder / "guard.yaml", {**STUDY, "collapse": {"ratio": 10}})
    rome = [each.replace("study.yaml", "guard.yaml") for each in ROME]
    run("guard", "data/facts.json", "--model", "model", *rome, "--out", "guarded")
    run("apply", "results/deltas/model=tiny/editor=rome/dataset=facts/shard-000.safetensors",
        "model", "--case", 10, "--out", "edited")  # fmt: skip


def jobs(out: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The study's job files and the commands that run them, in order, with outputs in `out`.

    Outputs have the same paths in `out` as in the study.
    """
    study = plan(load(Path("study.yaml")), "study.yaml")
    for model in study.prefixes:
        yield _job("prefixes", paths.prefixes_job(model), out / paths.prefixes(model))
        yield _job("rounding", paths.rounding_job(model), out / paths.rounding(model))
    for key in study.moments:
        yield _job("moments", paths.moments_job(*key), out / paths.moments(*key))
    for key in study.training:
        yield _job("train", paths.train_job(*key), out / paths.trained(*key))
    for values in study.values:
        yield _job("values", paths.values_job(*values), out / paths.values(*values))
    for shard in study.edits:
        yield _job(
            "edit", paths.edits_job(*shard), out / paths.edits(*shard), out / paths.deltas(*shard)
        )
    for sequence in study.sequences:
        rows = out / paths.sequences(*sequence)
        yield _job(
            "sequence", paths.sequences_job(*sequence), rows, rows.with_suffix(".safetensors")
        )
    for model in study.downstream:
        yield _job("downstream", paths.downstream_job(model), out / paths.downstream(model))
    for model in study.layers:
        yield _job("layers", paths.layers_job(model), out / paths.layers(model))
    for model in study.mechanism:
        yield _job("mechanism", paths.mechanism_job(model), out / paths.mechanism(model))


def _job(command: str, job: Path, out: Path, deltas: Path | None = None) -> Any:
    more = ("--deltas", str(deltas)) if deltas else ()
    return job, (command, "--job", str(job), "--out", str(out), *more)


def summaries(out: str = str(SUMMARY)) -> Iterator[tuple[str, ...]]:
    """The commands that summarise the study's results and write its report."""
    study = ("--study", STUDY_FILE)
    yield ("summarise", *study, "--out", out)
    yield ("summarise", "--what", "sequences", *study, "--out", out)
    yield ("summarise", "--what", "layers", *study, "--out", out)
    yield ("summarise", "--what", "rounding", *study, "--out", out)
    yield ("correlate", *study, "--cases", CASES, "--out", out)
    yield ("mechanism-tables", "results/mechanism/model=tiny", "--cases", CASES, "--out", out)
    yield ("mine", *study, "--out", f"{out}/mined")
    yield (
        "report", "--summary", str(SUMMARY), "--figures", f"{out}/figures",
        "--out", f"{out}/report.html", *study,
    )  # fmt: skip
