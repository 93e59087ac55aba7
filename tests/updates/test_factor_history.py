"""Low-rank updates that are kept in order, in memory that grows by doubling."""

import pytest
import torch

from editcore.updates.delta import LowRankUpdate
from editcore.updates.factor_history import FactorHistory

RANKS = (1, 3, 1, 8, 2)


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


def test_memory_is_asked_for_a_few_times_however_many_updates_there_are() -> None:
    """Small tensors for each update would lie between an editor's large ones, and stay there."""
    held, places = FactorHistory(), set()
    for _ in range(1000):
        held.append(LowRankUpdate(torch.ones(5, 1), torch.ones(7, 1)))
        places |= {(part, buffer.data_ptr()) for part, buffer in held._buffers.items()}
    assert len(held._buffers) == 2
    assert len(places) <= 2 * 11
