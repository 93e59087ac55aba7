"""Low-rank updates that are kept in order, and what memory a process needs for them."""

import subprocess
import sys

import pytest
import torch

from editcore.updates.delta import LowRankUpdate
from editcore.updates.factor_history import FactorHistory

RANKS = (1, 3, 1, 8, 2)
# An editor's matrices and a model's activations come and go between the factors that stay.
GROWTH = """
import random, resource
from pathlib import Path
import torch
from editcore.updates.delta import LowRankUpdate
from editcore.updates.factor_history import FactorHistory
torch.set_num_threads(1)
def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
held, draw = FactorHistory(), random.Random(0)
for step in range(250):
    square = torch.ones(640, 640, dtype=torch.float64)
    passes = [torch.ones(draw.randrange(100, 4000), 160) for _ in range(20)]
    solved = torch.linalg.cholesky(square + 700 * torch.eye(640, dtype=torch.float64))
    update = LowRankUpdate(torch.ones(160, 1), torch.ones(640, 1))
    held.append(update)
    del square, passes, solved, update
    if step == 50:
        start = resident()
print(resident() - start)
"""


def updates() -> list[LowRankUpdate]:
    draw = torch.Generator().manual_seed(0)
    return [
        LowRankUpdate(*(torch.randn(n, rank, generator=draw) for n in (5, 7))) for rank in RANKS
    ]


def test_updates_are_kept_in_their_order() -> None:
    held = FactorHistory()
    for update in updates():
        held.append(update)
    tensors = held.tensors()
    assert torch.equal(tensors["outputs"], torch.cat([u.outputs for u in updates()], 1))
    assert torch.equal(tensors["inputs"], torch.cat([u.inputs for u in updates()], 1))
    assert tensors["ranks"].tolist() == [*RANKS]
    assert tensors["outputs"].is_contiguous()


@pytest.mark.parametrize("length", range(len(RANKS)))
def test_a_history_can_be_cut_and_continued(length: int) -> None:
    held, expected = FactorHistory(), FactorHistory()
    for update in updates():
        held.append(update)
    held.cut(length)
    assert len(held) == length
    for place in [*range(length), 4, 0]:
        expected.append(updates()[place])
    for place in (4, 0):
        held.append(updates()[place])
    for name, tensor in expected.tensors().items():
        assert torch.equal(held.tensors()[name], tensor)


def test_a_wider_type_is_kept() -> None:
    held = FactorHistory()
    narrow, wide = torch.full((2, 1), 1 / 3), torch.full((2, 1), 1 / 3, dtype=torch.float64)
    held.append(LowRankUpdate(narrow, narrow))
    held.append(LowRankUpdate(wide, wide))
    assert torch.equal(held.tensors()["outputs"], torch.cat([narrow, wide], 1))


def test_memory_does_not_grow_with_the_updates() -> None:
    """A list of the same updates needs some 600 MB more after the last than after the first 50."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) < 150e6
