"""Rows of free answers for tests."""

from pathlib import Path
from typing import Any

from editcore.evaluation.qa_overlap import contains, exact_match, f1
from editcore.records.answer_schemas import ANSWERS
from editcore.records.tables import write_table

SCORES = {"exact_match": exact_match, "f1": f1, "contains": contains}


def answer_row(
    case_id: int,
    answer: str,
    answer_base: str = "Elro",
    accepted: tuple[str, ...] = ("Osdor",),
    **changes: Any,
) -> dict[str, Any]:
    """What both models answer when they are asked who makes a thing, with its scores."""
    question = f"Who makes thing {case_id}?"
    row = {
        "model": "small",
        "editor": "alpha",
        "dataset": "facts",
        "case_id": case_id,
        "measure": "efficacy",
        "kind": None,
        "context": "bare",
        "number": 0,
        "prompt": question,
        "question": question,
        "accepted": list(accepted),
        "answer_base": answer_base,
        "answer": answer,
        "unchanged": answer == answer_base,
    }
    for name, score in SCORES.items():
        row |= {name: score(answer, accepted), f"{name}_base": score(answer_base, accepted)}
    return row | changes


def write_answers(path: Path, *rows: dict[str, Any]) -> Path:
    """A table of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, rows, ANSWERS, {"seed": 0})
    return path
