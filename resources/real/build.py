"""Generates the data files from tables and texts; the same seed gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from resources.generator.world import write_json
from resources.real.facts import draw_facts
from resources.real.records import all_records
from resources.real.tasks import write_tasks

TEXTS = Path(__file__).parent / "texts"
BETWEEN = "\n---\n"


def texts() -> Iterator[Mapping[str, str]]:
    """The perplexity texts in ME-PPL's format; kinds alternate, so that the first N are mixed."""
    files = sorted(TEXTS.glob("*.txt"))
    kinds = [file.read_text(encoding="utf-8").strip().split(BETWEEN) for file in files]
    for turn in zip_longest(*kinds):
        for file, text in zip(files, turn, strict=True):
            if text is not None:
                yield {"Corpus": file.stem, "Text": text}


def write_real(folder: Path, seed: int) -> None:
    """Write facts, perplexity texts and task items to a folder."""
    facts = draw_facts(seed)
    write_json(folder / "facts.json", all_records(facts, seed))
    write_json(folder / "perplexity.json", list(texts()))
    write_tasks(folder / "tasks", facts, seed)
