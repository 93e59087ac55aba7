# ruff: noqa: F401, F811  `job` is a fixture of test_sequence
"""What an editor and its transforms report is in the rows, and in what `check` prints."""

import json
from collections.abc import Callable
from pathlib import Path

import editcore
from editcore.editing.diagnostics import from_json
from editcore.models.loading import load_model
from editcore.planning.jobs import EditorSpec, SequenceJob, TransformSpec
from tests.runs.test_sequence import OPTIONS, job, run
from tests.studies import TEXTS, record, write_config, write_json


def test_steps_have_what_editor_and_transforms_report(job: SequenceJob, tmp_path: Path) -> None:
    """Those of the accumulated change only where the model is measured."""
    prune = TransformSpec(uses="prune", options={})
    spec = EditorSpec(label="rome", uses="rome", options=OPTIONS["rome"], transforms=(prune,))
    changes = {"editor": spec, "case_ids": (12, 10, 15), "every": 2, "checks": ()}
    rows = run(job.model_copy(update=changes), tmp_path)
    own, both = {"key_match", "loss", "numerator_norm", "steps"}, {"clipped", "largest_ratio"}
    told = [set(from_json(text)) for text in rows["diagnostics"]]
    assert told == [set(), own, own | both, own | both]
    assert rows["diagnostics"][0] is None
    assert rows["denominator"].null_count() == 1


def test_the_rank_that_alphaedit_keeps_is_in_the_row(
    tmp_path: Path, saved_model: Callable[..., Path]
) -> None:
    model = str(saved_model("gpt2"))
    texts = str(write_json(tmp_path / "texts.json", TEXTS))
    study = {
        "models": {"random": {"source": model}},
        "editors": {"alphaedit": {}},
        "datasets": {
            "facts": {"path": str(write_json(tmp_path / "facts.json", [record(0, "Co")]))}
        },
        "perplexity": {"path": texts, "texts": 2},
        "prefixes": {"lengths": [[3, 2]], "seeds": ["The", "You"]},
        "moments": {"path": texts, "tokens": 500},
    }
    report = editcore.check(
        "random",
        "alphaedit",
        prompt="{} is made by",
        subject="Coral",
        target="made",
        options={"layers": [0, 1], "steps": 3, "kept_share": 0.25},
        config=write_config(tmp_path / "study.yaml", study),
        cache=tmp_path / "cache",
        calibrate=False,
    )
    told = json.loads(report.row["diagnostics"])
    weight = load_model("random", model).parts.down(0).weight
    assert told["kept_rank.0"] == told["kept_rank.1"] == max(weight.shape) / 4
    assert report.as_dict()["diagnostics"] == report.diagnostics == told
    shown = " ".join(str(report).split())
    assert f"alphaedit reports kept_rank.0 {told['kept_rank.0']:.0f}, " in shown
    assert f"kept_rank.1 {told['kept_rank.1']:.0f}, kept_share.0 0.25" in shown
