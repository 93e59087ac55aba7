"""The facts and texts of the comparison: the bundled world, or the published data if available."""

from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from editcore.datasets.bundled import data_file
from editcore.datasets.readers import read_requests, read_texts
from editcore.requests import EditRequest


@dataclass(frozen=True)
class Workload:
    """Facts to edit, texts to measure on, and the 21 templates used for keys and v*."""

    requests: tuple[EditRequest, ...]
    texts: tuple[str, ...]
    templates: tuple[str, ...]

    def with_texts(self, count: int) -> "Workload":
        """The same with the first `count` texts."""
        return replace(self, texts=self.texts[:count])

    def cases(self, start: int, count: int) -> list[EditRequest]:
        """Facts in order, starting over after the last; each with its own number."""
        again = islice(cycle(self.requests), start, start + count)
        return [EditRequest(**{**vars(r), "case_id": i}) for i, r in enumerate(again)]


def bundled() -> Workload:
    """The bundled world's normal and hard cases and perplexity texts."""
    folder = "resources/world"
    normal, hard = (read_requests(data_file(f"{folder}/{n}.json")) for n in ("normal", "hard"))
    texts = read_texts(data_file(f"{folder}/perplexity.json"), 100)
    return _workload([*normal, *hard], texts)


def published(folder: Path) -> Workload:
    """COUNTERFACT and ME-PPL_50 as published."""
    cases = read_requests(folder / "counterfact" / "counterfact-edit.json")
    texts = read_texts(folder / "me-ppl" / "ME-PPL_50.json")
    return _workload(cases, texts + texts)


def _workload(requests: list[EditRequest], texts: list[str]) -> Workload:
    """Templates are openings of other texts, ten of 4 words and ten of 8, like sampled prefixes."""
    openings = [text.split() for text in texts[-20:]]
    lengths = [4] * 10 + [8] * 10
    prefixes = [" ".join(o[:n]) + ". {}" for o, n in zip(openings, lengths, strict=True)]
    return Workload(tuple(requests), tuple(texts[:50]), ("{}", *prefixes))
