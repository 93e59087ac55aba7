"""The limits of the solve, and a sequence whose memory is saved and loaded."""

import pytest
import torch
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from editcore_memit_seq.config import MemitSeqConfig
from editcore_memit_seq.editor import MemitSeqEditor
from safetensors.torch import load_file, save_file

from editcore import EditContext
from editcore.testing import tiny_model, tiny_requests
from editcore.toolkit import ContextPrefixes, SecondMoment, wrap_model

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def context() -> EditContext:
    model = wrap_model("llama", *tiny_model("llama"))
    width = model.parts.down(0).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    matrix = samples.T @ samples / len(samples)
    moments = {layer: SecondMoment.from_matrix(layer, matrix, len(samples)) for layer in LAYERS}
    return EditContext(model, ContextPrefixes(("{}", "I think. {}"), "llama", 0), moments)


def editor(**options: float) -> MemitSeqEditor:
    return MemitSeqEditor(
        MemitSeqConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options})
    )


def assert_equal(found, expected, tolerance: float) -> None:
    for name, update in expected.updates.items():
        difference = (found.updates[name].dense() - update.dense()).norm()
        assert float(difference) <= tolerance * update.norm()


@pytest.mark.parametrize("number", [1, 3])
def test_without_memory_it_is_memit(number: int) -> None:
    """At the first edit, and at later ones if earlier keys weigh nothing."""
    given, memit = context(), MemitEditor(MemitConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    expected = memit.edit(given, REQUESTS[:number]).delta
    assert_equal(editor().edit(given, REQUESTS[:number]).delta, expected, 0)
    state = editor().edit(given, REQUESTS).state
    weightless = editor(memory_weight=0).edit(given, REQUESTS[:number], state)
    assert_equal(weightless.delta, expected, 1e-6)


def test_the_memory_is_the_sum_of_all_keys_products() -> None:
    given = context()
    together = editor().edit(given, REQUESTS).state
    state = None
    for request in REQUESTS:
        state = editor().edit(given, [request], state).state
    # The first layer's keys depend on no edit.
    torch.testing.assert_close(state["0"], together["0"], rtol=1e-4, atol=1e-6)
    assert all(state[str(layer)].dtype == torch.float64 for layer in LAYERS)


def test_outputs_at_earlier_keys_are_preserved() -> None:
    """A heavy memory S makes tr(ΔSΔᵀ), their squared change, small."""
    given = context()
    first = editor().edit(given, REQUESTS[:1])
    name = given.model.parts.down_weight(0)
    costs = []
    for weight in (0.0, 1e3):
        later = editor(memory_weight=weight).edit(given, REQUESTS[1:], first.state).delta
        change = later.updates[name].dense().double()
        costs.append(float(torch.trace(change @ first.state["0"] @ change.T)))
    assert costs[1] < 1e-3 * costs[0]


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    given, path = context(), tmp_path / "state.safetensors"
    first = editor().edit(given, REQUESTS[:1])
    with first.delta.applied(given.model.model):
        expected = editor().edit(given, REQUESTS[1:], first.state)
        save_file(dict(editor().save_state(first.state)), path)
        loaded = editor().load_state(given, load_file(path))
        found = editor().edit(given, REQUESTS[1:], loaded)
    assert_equal(found.delta, expected.delta, 0)
    assert all(torch.equal(found.state[key], expected.state[key]) for key in expected.state)
