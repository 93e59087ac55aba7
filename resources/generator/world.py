"""Writes the world's data files; the same seed gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resources.generator.corpus import Corpus
from resources.generator.facts import draw_facts
from resources.generator.heldout import HeldOut, hold_out
from resources.generator.moments import windows
from resources.generator.records import all_records, hard_facts, normal_facts


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON with a final newline."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path: Path, items: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(item, ensure_ascii=False) for item in items]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_tasks(folder: Path, held: HeldOut) -> None:
    """Write the held-out items of every task."""
    write_lines(folder / "questions.jsonl", held.questions)
    write_lines(
        folder / "passages.jsonl",
        ({"passage": p.text, "question": p.question, "answer": p.answer} for p in held.passages),
    )
    cut = [text.removesuffix(".").rpartition(" ") for text in held.cloze]
    write_lines(folder / "cloze.jsonl", ({"context": c[0], "word": c[2]} for c in cut))
    write_lines(folder / "fact_choices.jsonl", held.fact_choices)
    write_lines(folder / "continuations.jsonl", held.continuation)


def write_world(folder: Path, seed: int) -> None:
    """Write facts, hard and normal cases, perplexity texts and task items to a folder."""
    facts = draw_facts(seed)
    records = {r["case_id"]: r for r in all_records(facts, seed)}
    held = hold_out(facts, seed)
    write_json(folder / "facts.json", list(records.values()))
    write_json(folder / "hard.json", [records[f.case_id] for f in hard_facts(facts)])
    write_json(folder / "normal.json", [records[f.case_id] for f in normal_facts(facts, seed)])
    texts = [{"Corpus": "stories", "Text": text} for text in held.perplexity]
    write_json(folder / "perplexity.json", texts)
    pieces = windows(Corpus(facts, held, seed))
    write_json(folder / "moments.json", [{"Corpus": "training", "Text": text} for text in pieces])
    write_tasks(folder / "tasks", held)
