"""Documents with numbers are made from a study, and the committed ones from the templates."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from editcore.records.schemas import CORRELATION
from editcore.records.tables import write_table
from editcore.report.data import ReportData
from editcore.report.papers.published import content
from refresh.claims import EDITOR, Claim, between_kinds, claims, collapse
from refresh.documents import (
    END,
    FIGURE,
    FULL,
    README,
    REPRODUCTION,
    START,
    between,
    markdown,
    reproduction,
    shown,
    write,
    write_full,
)
from refresh.evidence import tasks

ROOT = Path(__file__).parents[2]


def prose(text: str) -> list[str]:
    """The lines of a document without its tables."""
    return [line for line in text.splitlines() if line and not line.startswith("|")]


def test_the_committed_page_is_the_template_filled() -> None:
    committed = (ROOT / REPRODUCTION).read_text(encoding="utf-8")
    assert prose(committed) == prose(reproduction(lambda _: "")), (
        "renew it: python -m refresh results"
    )


def test_the_page_has_every_published_table() -> None:
    asked: list[str] = []
    reproduction(lambda name: asked.append(name) or "")  # type: ignore[func-returns-value]
    assert sorted(asked) == sorted(content()["tables"])


def test_the_published_columns_of_the_committed_page_are_the_report_s(study: ReportData) -> None:
    committed = (ROOT / REPRODUCTION).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in committed if "|" in line]
    for name, entry in content()["tables"].items():
        labels = len(entry["labels"])
        # Quantities are rows there, and those that a study lacks are left out.
        of_name = () if "heads" in entry else shown(study, name).rows
        for row in of_name:
            theirs = list(row[-(len(row) - labels) :])
            if set(theirs) != {"–"}:
                assert any(line[-len(theirs) :] == theirs for line in rows), (name, row)


def test_a_study_fills_all_documents(study: ReportData, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / README, tmp_path / README)
    written = write(study, tmp_path)
    assert written == [REPRODUCTION, README, FIGURE]
    new, old = ((folder / README).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
    assert new.split(START)[0] == old.split(START)[0]
    assert new.split(END)[1] == old.split(END)[1]
    assert "| `small` | `alpha` | hard |" in new
    assert between(new, "x") == between(old, "x")
    assert (tmp_path / FIGURE).stat().st_size > 1000


def test_the_committed_figure_is_small_and_the_readme_shows_it() -> None:
    assert (ROOT / FIGURE).stat().st_size < 150_000
    assert f"]({FIGURE})" in (ROOT / README).read_text(encoding="utf-8")


def test_the_committed_table_has_every_group_of_the_default_study() -> None:
    text = (ROOT / README).read_text(encoding="utf-8").split(START)[1].split(END)[0]
    rows = re.findall(r"^\| `([\w-]+)` \| `([\w-]+)` \| (\w+) \| (\d+) of (\d+) ", text, re.M)
    assert len(rows) == len({row[:3] for row in rows}) == 20
    assert {row[1] for row in rows if int(row[3])} == {EDITOR}


def test_claims_need_what_they_claim(study: ReportData) -> None:
    assert [claim.text.split("**")[1] for claim in claims(study)] == [
        "The prediction before the edit"
    ]
    row = {"n_ok": 10, "denominator_median": 0.1, "model": "m", "editor": EDITOR, "n_collapsed": 0}
    hard = {**row, "dataset": "hard", "denominator_median": 0.001, "n_collapsed": 9}
    other = {**hard, "editor": "other", "denominator_median": None}

    class Groups:
        def __init__(self, *rows: dict[str, object]) -> None:
            self.rows = rows

        def groups(self) -> tuple[dict[str, object], ...]:
            return self.rows

    def said(*rows: dict[str, object]) -> Claim:
        (claim,) = collapse(Groups(*rows))  # type: ignore[arg-type]
        return claim

    normal = {**row, "dataset": "normal"}
    assert said(hard, normal).holds
    assert "9 of 10 on `m`" in said(hard, normal).text
    assert not said(hard, normal, other).holds
    assert not said(hard, {**normal, "n_collapsed": 1}).holds


def test_the_full_study_fills_its_part_of_the_readme(study: ReportData, tmp_path: Path) -> None:
    shutil.copy(ROOT / README, tmp_path / README)
    assert write_full(study, tmp_path) == [README]
    new, old = ((folder / README).read_text(encoding="utf-8") for folder in (tmp_path, ROOT))
    assert between(new, "x", *FULL) == between(old, "x", *FULL)
    assert "| `small` | `alpha` | hard |" in new.split(FULL[0])[1].split(FULL[1])[0]


@pytest.mark.parametrize(("strong", "holds"), [(2, False), (3, True)])
def test_the_tasks_are_ranked_only_if_three_follow_perplexity(
    study: ReportData, tmp_path: Path, *, strong: int, holds: bool
) -> None:
    names = ("a", "b", "c", "d", "e")
    rows = [
        dict.fromkeys(CORRELATION.names)
        | {"model": "small", "task": name, "metric": "acc", "n": 30}
        | {"rho": -0.9 if i < strong else -0.5}
        for i, name in enumerate(names)
    ]
    write_table(tmp_path / "correlation.parquet", rows, CORRELATION, {})
    (claim,) = tasks(replace(study, folder=tmp_path))
    assert claim.holds is holds
    assert "over 30 models is −0.900 in `a`" in claim.text


@pytest.mark.parametrize("name", content()["tables"])
def test_tables_become_markdown(study: ReportData, name: str) -> None:
    lines = markdown(shown(study, name)).splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_early_cases_are_between_hard_and_late_ones() -> None:
    def said(early: list[float], late: list[float]) -> Claim:
        class Cases:
            datasets = ("hard", "early", "late")

            def made(self, *, dataset: str, **_: str) -> pl.DataFrame:
                return pl.DataFrame({"perplexity_ratio": {"early": early, "late": late}[dataset]})

        (claim,) = between_kinds(Cases())  # type: ignore[arg-type]
        return claim

    found = said([1.0, 1.2, 1.5, 90.0], [1.0, 1.02])
    assert found.holds
    assert "in 3 of 4 (at most ×90)" in found.text
    assert "in 0 of 2 (at most ×1.02)" in found.text
    assert not said([1.0, 1.2], [1.3, 1.02]).holds
