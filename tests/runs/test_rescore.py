"""Kept answers are judged again, as a user asks for it on the command line."""

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from editcore import DataError
from editcore.cli import main
from editcore.evaluation.judges import Judged
from editcore.records.answer_schemas import JUDGED
from editcore.records.columns import schema_name
from editcore.records.schemas import EDITS
from editcore.records.tables import read_provenance, read_table, write_table
from editcore.runs.rescore import read_answers
from editcore.testing.models import save_tiny_model
from tests.answers import answer_row, write_answers
from tests.rows import edit_row

# Answers of edited models: right, right in other words, and wrong.
FACTS = (
    answer_row(1, "Osdor."),
    answer_row(2, "It is Osdor, I think."),
    answer_row(3, "Elro", accepted=("Osdor", "Elro Works")),
)
LOCAL = answer_row(1, "Tavel", "Tavel now", accepted=("Tavel",), measure="locality", kind="near")
PLUGIN = """
from editcore import JudgeConfig, JudgeInfo, hookimpl

EDITCORE_HOOKSPEC = 2
CALLS = []


class Options(JudgeConfig):
    word: str

    def origin(self):
        return {"list": f"words like {self.word}"}


@hookimpl
def editcore_judges():
    yield JudgeInfo("asks-back", "", "", Options, "asks_back:judge")


def judge(options):
    def judged(answers):
        CALLS.extend(answers)
        return [float(options.word in each.answer) if each.answer else None for each in answers]
    return judged
"""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder with the answers of two editors; the working directory is above it."""
    monkeypatch.chdir(tmp_path)
    for editor in ("alpha", "beta"):
        folder = tmp_path / "results" / "answers" / "model=small" / f"editor={editor}"
        for number, rows in enumerate((FACTS, (LOCAL,))):
            file = folder / "dataset=facts" / f"shard-00{number}.parquet"
            write_answers(file, *({**row, "editor": editor} for row in rows))
    return tmp_path / "results"


def rescore(*arguments: str) -> Result:
    return CliRunner(catch_exceptions=False).invoke(main, ["rescore", *arguments])


def refused(*arguments: str) -> str:
    result = rescore(*arguments, "--out", "judged.parquet")
    assert result.exit_code == 2
    assert not Path("judged.parquet").exists()
    return result.output


def test_answers_are_judged_written_and_compared_with_exact_match(results: Path) -> None:
    done = rescore("results", "--judge", "contains", "--out", "judged.parquet")
    assert done.exit_code == 0, done.output
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    head, _, *rows = table
    assert head[6:] == [
        *("exact match", "judged", "agreement", "unedited: exact match", "unedited: judged"),
    ]
    for editor, (facts, local) in zip(("alpha", "beta"), (rows[:2], rows[2:]), strict=True):
        assert facts[:6] == ["small", editor, "facts", "efficacy", "bare", "3"]
        assert facts[6:] == ["0.33", "0.67", "0.67", "0.00", "0.00"]
        assert local[:6] == ["small", editor, "facts", "locality", "bare", "1"]
        assert local[6:] == ["1.00", "1.00", "1.00", "0.00", "1.00"]
    written = read_table(Path("judged.parquet"), JUDGED)
    found = written.select("case_id", "measure", "judged").rows()
    facts = [(1, "efficacy", 1), (1, "locality", 1), (2, "efficacy", 1), (3, "efficacy", 0)]
    assert found == facts * 2, "ordered by its keys"
    assert set(written["judge"]) == {"contains"} and set(written["judge_options"]) == {"{}"}
    made = read_provenance(Path("judged.parquet"))
    assert (made["judge"]["name"], made["judge"]["distribution"]) == ("contains", "editcore")
    assert made["answers"] == {"seed": 0}


def test_json_has_the_numbers_of_the_table_and_a_part_of_the_results_is_enough(
    results: Path,
) -> None:
    part = str(next(results.rglob("editor=beta")))
    file = str(next(results.rglob("editor=alpha/*/shard-001.parquet")))
    done = rescore(part, file, part, "--judge", "f1", "--out", "judged.parquet", "--json")
    found = json.loads(done.stdout)
    assert (found["judge"], found["options"]) == ("f1", {})
    wanted = {"alpha": ["locality"], "beta": ["efficacy", "locality"]}
    for editor, measures in wanted.items():
        assert [r["measure"] for r in found["rows"] if r["editor"] == editor] == measures
    (facts,) = (row for row in found["rows"] if row["measure"] == "efficacy")
    # Of five words, one is shared with one; of one word, one with two.
    assert facts["judged"] == pytest.approx((1 + 2 / 6 + 2 / 3) / 3)
    assert facts["agreement"] == pytest.approx(2 / 3)
    assert facts["exact_match_base"] == 0 and facts["judged_base"] == pytest.approx(2 / 9)


def test_a_model_judges_without_a_service(results: Path) -> None:
    save_tiny_model("llama", Path("judge"))
    template = "{question} {accepted} {answer} A: {a} B: {b}"
    options = ("--set", "source=judge", "--set", f"template={json.dumps(template)}")
    done = rescore("results", "--judge", "model", *options, "--out", "judged.parquet", "--json")
    assert done.exit_code == 0, done.output
    written = read_table(Path("judged.parquet"), JUDGED)
    assert {*written["judged"], *written["judged_base"]} <= {0.0, 1.0}
    kept = json.loads(written["judge_options"][0])
    assert (kept["source"], kept["template"]) == ("judge", template)
    made = read_provenance(Path("judged.parquet"))["judge"]
    assert len(made["revision"]) == 12 and made["stored_as"] == "F32"


def test_a_plugin_s_judge_is_asked_once_for_each_different_answer(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "site" / "asks_back-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "asks_back.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: asks-back\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[editcore]\nasks-back = asks_back\n")
    monkeypatch.syspath_prepend(info.parent)
    write_answers(Path("results/answers/shard-9.parquet"), answer_row(9, "", editor="gamma"))
    chosen = ("--judge", "asks-back", "--set", "word=Osdor", "--out", "judged.parquet")
    done = rescore("results", *chosen)
    assert done.exit_code == 0, done.output
    assert "The judge asks-back gave no score for 1 of 18 answers; no number" in done.stdout
    (gamma,) = (line for line in done.stdout.splitlines() if "gamma" in line)
    assert [cell.strip() for cell in gamma.split("|")[6:-1]] == ["0", "–", "–", "–", "0.00", "0.00"]
    made = read_provenance(Path("judged.parquet"))["judge"]
    assert (made["distribution"], made["list"]) == ("asks-back", "words like Osdor")
    import asks_back  # type: ignore[import-not-found]

    assert all(isinstance(each, Judged) for each in asks_back.CALLS)
    assert len(asks_back.CALLS) == len({*asks_back.CALLS}) == 9


def test_what_cannot_be_judged_is_refused_in_a_sentence(results: Path) -> None:
    write_table(Path("edits.parquet"), [edit_row(1)], EDITS, {})
    write_answers(Path("none.parquet"))
    write_answers(Path("twice.parquet"), LOCAL)
    by = ("--judge", "contains")
    assert f"edits.parquet: contains {schema_name(EDITS)}, not free answers" in refused(
        "edits.parquet", *by
    )
    assert "none.parquet: has no answers; give" in refused("none.parquet", *by)
    twice = refused("results", "twice.parquet", *by)
    assert "answers of case 1 of small, alpha, facts are in two files" in twice
    empty = Path("results/empty")
    empty.mkdir()
    assert "results/empty: has no answers (answers/…/shard-*.parquet)" in refused(str(empty), *by)
    assert "there is no file or folder nowhere" in refused("nowhere", *by)
    file = next(results.rglob("shard-*.parquet"))
    pl.read_parquet(file).write_parquet("bare.parquet")
    with pytest.raises(DataError, match="contains another table, not free answers"):
        read_answers([Path("bare.parquet")])
