"""docs/streams.md and the alarm are made again from the sequences of a study."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from editcore.config.alarm import Alarm, shipped
from editcore.records.schemas import SEQUENCES_JUDGED
from editcore.records.tables import write_table
from refresh.streams import LASTED, PREDICTED, main
from tests.report.test_sequences import long_sequence

PAGE = "\n\n".join(["before", *PREDICTED, "between", *LASTED, "after"])


def test_page_and_alarm_are_written(tmp_path: Path) -> None:
    growths = {"alpha": 0.1, "beta": 0.06, "gamma": 0.001}
    rows = [
        row
        for editor, growth in growths.items()
        for order in (0, 1)
        for row in long_sequence(editor, order, growth + 0.001 * order)
    ]
    for folder in ("docs", "editcore/config", "results/summary"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "docs" / "streams.md").write_text(PAGE, encoding="utf-8")
    write_table(tmp_path / "results" / "summary" / "sequences.parquet", rows, SEQUENCES_JUDGED, {})
    also = [row | {"batch": 10} for row in long_sequence("gamma", 0, 0.1)]
    table = tmp_path / "also" / "summary" / "sequences.parquet"
    table.parent.mkdir(parents=True)
    write_table(table, also, SEQUENCES_JUDGED, {})
    command = ["--root", str(tmp_path), str(tmp_path / "results"), "--also", str(tmp_path / "also")]
    made = CliRunner().invoke(main, command)
    assert made.exit_code == 0, made.output
    page = (tmp_path / "docs" / "streams.md").read_text(encoding="utf-8")
    assert "Tested on 6 sequences of small." in page
    assert "| small | gamma | 1 | drawn | 2 | never | never | 60 | ×1.09 |" in page
    assert "| small | alpha | 1 | drawn | 2 | 2 | 23 to 24 |" in page
    assert "| small | gamma | 10 | drawn | 1 | 2 | 24 |" in page
    alarm = json.loads((tmp_path / "editcore" / "config" / "alarm.json").read_text("utf-8"))
    assert alarm["predictor"] == "perplexity_ratio"
    assert 1.1 < alarm["threshold"] < 10


def test_a_study_without_sequences_is_refused(tmp_path: Path) -> None:
    refused = CliRunner().invoke(main, [str(tmp_path)])
    assert refused.exit_code == 2
    assert "no such file" in refused.output


def test_the_alarm_says_what_it_saw() -> None:
    alarm = Alarm(predictor="top1_changed", threshold=0.3)
    assert alarm.seen({"top1_kept": 0.75}) == ""
    assert alarm.seen({"top1_kept": None}) == ""
    assert "is 0.375, and from 0.300 on a collapse" in alarm.seen({"top1_kept": 0.625})


@pytest.mark.parametrize("ratio", [1.0, 1.2])
def test_the_alarm_that_is_provided_lets_sound_models_pass(ratio: float) -> None:
    assert shipped().seen({"perplexity_ratio": ratio, "top1_kept": 0.95, "kl_mean": 0.05}) == ""
