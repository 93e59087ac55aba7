"""The limits of the solve, and a sequence whose memory is saved and loaded."""

import pytest
import torch
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from editcore_memit_seq.config import MemitSeqConfig
from editcore_memit_seq.editor import MemitSeqEditor

from editcore.testing import (
    assert_continues_from_file,
    assert_same_delta,
    tiny_context,
    tiny_requests,
)

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def editor(**options: float) -> MemitSeqEditor:
    return MemitSeqEditor(
        MemitSeqConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options})
    )


@pytest.mark.parametrize("number", [1, 3])
def test_without_memory_it_is_memit(number: int) -> None:
    """At the first edit, and at later ones if earlier keys weigh nothing."""
    given = tiny_context()
    memit = MemitEditor(MemitConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    expected = memit.edit(given, REQUESTS[:number]).delta
    assert_same_delta(editor().edit(given, REQUESTS[:number]).delta, expected, tolerance=0)
    state = editor().edit(given, REQUESTS).state
    weightless = editor(memory_weight=0).edit(given, REQUESTS[:number], state)
    assert_same_delta(weightless.delta, expected, tolerance=1e-6)


def test_the_memory_is_the_sum_of_all_keys_products() -> None:
    given = tiny_context()
    together = editor().edit(given, REQUESTS).state
    state = None
    for request in REQUESTS:
        state = editor().edit(given, [request], state).state
    # The first layer's keys depend on no edit.
    torch.testing.assert_close(state["0"], together["0"], rtol=1e-4, atol=1e-6)
    assert all(state[str(layer)].dtype == torch.float64 for layer in LAYERS)


def test_outputs_at_earlier_keys_are_preserved() -> None:
    """A heavy memory S makes tr(ΔSΔᵀ), their squared change, small."""
    given = tiny_context()
    first = editor().edit(given, REQUESTS[:1])
    name = given.model.parts.down_weight(0)
    costs = []
    for weight in (0.0, 1e3):
        later = editor(memory_weight=weight).edit(given, REQUESTS[1:], first.state).delta
        change = later.updates[name].dense().double()
        costs.append(float(torch.trace(change @ first.state["0"] @ change.T)))
    assert costs[1] < 1e-3 * costs[0]


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    assert_continues_from_file(editor(), tiny_context(), tmp_path / "state")
