"""Runs the two sides in turn, and compares their seconds, memory and results."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.race.peer import PeerError, layout_of
from benchmarks.race.worker import Spec
from editcore.updates.delta import load_deltas

Answer = dict[str, Any]
STAGES = ("editing", "perplexity")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Side:
    """A running side, the seconds from its start until it was ready, and its peak memory then."""

    process: "subprocess.Popen[str]"
    log: Path
    start: float
    memory: float

    def sweep(self, start: int, count: int) -> Answer:
        """Edit `count` cases, and measure each edited model."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([start, count]) + "\n")
        self.process.stdin.flush()
        return answer(self.process, self.log)


@contextmanager
def side(spec: Spec, folder: Path) -> Iterator[Side]:
    """A side in a process of its own, which ends with the block; `PeerError` if it cannot start."""
    file, log = folder / "spec.json", folder / "log.txt"
    (folder / "updates").mkdir(parents=True)
    file.write_text(json.dumps(asdict(replace(spec, answers=str(folder / "updates")))))
    started = time.perf_counter()
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.race.worker", str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
        )
    try:
        ready = answer(process, log)
        yield Side(process, log, time.perf_counter() - started, ready["memory"])
    finally:
        process.kill()
        process.wait()


def answer(process: "subprocess.Popen[str]", log: Path) -> Answer:
    """The next answer of a side; `PeerError` with its last words if there is none."""
    assert process.stdout is not None
    if line := process.stdout.readline():
        found: Answer = json.loads(line)
        return found
    words = log.read_text().strip().splitlines()[-12:]
    raise PeerError("one side ended without an answer; its last words:\n" + "\n".join(words))


def race(spec: Spec, peer: Path, cases: int, rounds: int) -> dict[str, Any]:
    """Rounds of the same new cases by both sides, which take turns at going first."""
    layout = layout_of(peer)
    with tempfile.TemporaryDirectory() as folder:
        ours = side(spec, Path(folder) / "ours")
        theirs = side(replace(spec, peer=str(peer.resolve())), Path(folder) / "theirs")
        with ours as one, theirs as other:
            one.sweep(0, 1)  # neither side's first edit counts
            other.sweep(0, 1)
            found = [
                _round(one, other, (1 + i * cases, cases), peer_first=i % 2 == 1)
                for i in tqdm(range(rounds), desc="rounds", unit="round")
            ]
            return {
                "peer": layout.name,
                "cases in a round": cases,
                "rounds": rounds,
                "ratio, edits and perplexity": _ratios(found, STAGES),
                "ratio, edits alone": _ratios(found, STAGES[:1]),
                "ratio, whole process": _ratios(found, STAGES, (one.start, other.start)),
                "seconds a case, editcore": _seconds([a for a, _ in found], cases),
                "seconds a case, peer": _seconds([b for _, b in found], cases),
                "seconds until ready": {"editcore": one.start, "peer": other.start},
                "peak memory, MB": {
                    "editcore": max(a["memory"] for a, _ in found),
                    "peer": max(b["memory"] for _, b in found),
                },
                "agreement": _agreement(found),
            }


def _round(
    one: Side, other: Side, cases: tuple[int, int], *, peer_first: bool
) -> tuple[Answer, Answer]:
    theirs = other.sweep(*cases) if peer_first else None
    ours = one.sweep(*cases)
    return ours, theirs or other.sweep(*cases)


def _ratios(
    found: Sequence[tuple[Answer, Answer]],
    stages: Sequence[str],
    starts: tuple[float, float] = (0.0, 0.0),
) -> dict[str, float]:
    """The peer's seconds over editcore's, of the given stages; median and range over rounds."""
    ratios = [
        (starts[1] + sum(theirs[stage] for stage in stages))
        / (starts[0] + sum(ours[stage] for stage in stages))
        for ours, theirs in found
    ]
    return {"median": median(ratios), "least": min(ratios), "most": max(ratios)}


def _seconds(answers: Sequence[Answer], cases: int) -> dict[str, float]:
    """Median seconds per case of every stage."""
    return {stage: median(answer[stage] for answer in answers) / cases for stage in STAGES}


def _agreement(found: Sequence[tuple[Answer, Answer]]) -> dict[str, float]:
    """The largest differences between the results of the two sides."""
    cosines, norms, perplexities = [], [], []
    for ours, theirs in found:
        pairs = zip(
            *(load_deltas(Path(a["updates"])).values() for a in (ours, theirs)), strict=True
        )
        for mine, other in pairs:
            (a,), (b,) = mine.updates.values(), other.updates.values()
            product = (a.dense().double() * b.dense().double()).sum()
            cosines.append(1 - float(product / (a.norm() * b.norm())))
            norms.append(abs(a.norm() / b.norm() - 1))
        values = zip(ours["perplexities"], theirs["perplexities"], strict=True)
        perplexities += [abs(p / q - 1) for p, q in values]
    return {
        "largest 1 - cosine of updates": max(cosines),
        "largest relative difference of norms": max(norms),
        "largest relative difference of perplexity": max(perplexities),
    }
