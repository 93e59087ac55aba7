"""One side of a race, in a process of its own: reads cases, edits and measures, answers in JSON.

    python -m benchmarks.race.worker SPEC.json

Each line on standard input has the first case and their number; the answer is a line on standard
output. What a toolkit prints goes to standard error.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from benchmarks.measure import PeakMemory
from benchmarks.race.peer import Peer
from benchmarks.shapes import one
from benchmarks.ways import Done, Fast, Plain
from benchmarks.workload import Workload, bundled, published
from editcore.config.study import Precision
from editcore.models.loading import load_tokenizer
from editcore.models.memory import use_sparingly
from editcore.requests import EditRequest
from editcore.updates.delta import Delta, save_deltas


@dataclass(frozen=True)
class Spec:
    """What a side needs to know; without `peer` it is editcore's."""

    model: str
    layer: int
    precision: Precision
    texts: int
    answers: str  # a folder for updates
    peer: str | None = None
    published: str | None = None
    threads: int | None = None
    steps: int = 20


def sides(spec: Spec) -> tuple["Fast | PeerWay", Workload]:
    """The side that a specification describes, with its model loaded, and the facts."""
    folder = Path(spec.published) if spec.published else None
    workload = published(folder) if folder else bundled()
    workload = workload.with_texts(spec.texts)
    tokenizer = load_tokenizer(str(folder / "gpt2")) if folder else None
    fast = spec.peer is None
    model = one(
        spec.model,
        fast=fast,
        device="cpu",
        precision=spec.precision if fast else "float32",
        tokenizer=tokenizer,
    )
    if spec.peer is None:
        use_sparingly("cpu")
        return Fast(model, workload, spec.layer, spec.steps), workload
    return PeerWay(model, workload, spec.layer, Path(spec.peer)), workload


class PeerWay(Plain):
    """A toolkit's edits, each measured in the plain way."""

    def __init__(self, model: Any, workload: Workload, layer: int, folder: Path) -> None:
        super().__init__(model, workload, layer)
        self.peer = Peer(folder, model, workload.templates, self.options)

    def edit_one(self, request: EditRequest) -> Delta:
        """The toolkit's edit of the model in its current state."""
        return self.peer.edit(request)


def serve(spec: Spec, commands: TextIO, answers: TextIO) -> None:
    """Answer commands until there are no more."""
    side, workload = sides(spec)
    memory = PeakMemory(torch.device("cpu"))
    _answer(answers, {"ready": True, "memory": memory.read()})
    for number, line in enumerate(commands):
        start, count = json.loads(line)
        memory.reset()
        done = side.sweep(workload.cases(start, count))
        file = Path(spec.answers) / f"{number}.safetensors"
        save_deltas(dict(enumerate(done.deltas)), file, {})
        _answer(answers, _measured(done) | {"memory": memory.read(), "updates": str(file)})


def _measured(done: Done) -> dict[str, Any]:
    editing = sum(value for stage, value in done.seconds.items() if stage != "perplexity")
    return {
        "editing": editing,
        "perplexity": done.seconds["perplexity"],
        "perplexities": done.perplexities,
    }


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


def main() -> None:
    """Serve the specification in the file of the first argument."""
    spec = Spec(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    if spec.threads:
        torch.set_num_threads(spec.threads)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(spec, sys.stdin, answers)


if __name__ == "__main__":
    main()
