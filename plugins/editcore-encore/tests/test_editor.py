"""ENCORE's limits are MEMIT and MEMIT-Seq, and its search stops when the templates agree."""

import pytest
import torch
from editcore_encore.config import EncoreConfig
from editcore_encore.editor import EncoreEditor
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from editcore_memit_seq.config import MemitSeqConfig
from editcore_memit_seq.editor import MemitSeqEditor

from editcore import EditContext, EditRequest
from editcore.testing import tiny_model, tiny_requests
from editcore.toolkit import ContextPrefixes, SecondMoment, wrap_model

LAYERS = (0, 1)
REQUESTS = tiny_requests()
PLAIN = {"norm_weight": 0, "agreement_steps": None}


def context() -> EditContext:
    model = wrap_model("llama", *tiny_model("llama"))
    width = model.parts.down(0).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    matrix = samples.T @ samples / len(samples)
    moments = {layer: SecondMoment.from_matrix(layer, matrix, len(samples)) for layer in LAYERS}
    return EditContext(model, ContextPrefixes(("{}", "I think. {}"), "llama", 0), moments)


def editor(**options: object) -> EncoreEditor:
    return EncoreEditor(
        EncoreConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options})
    )


def assert_equal(found, expected, tolerance: float) -> None:
    for name, update in expected.updates.items():
        difference = (found.updates[name].dense() - update.dense()).norm()
        assert float(difference) <= tolerance * update.norm()


def test_without_norm_constraint_and_early_stop_it_is_memit_seq() -> None:
    given = context()
    other = MemitSeqEditor(MemitSeqConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    first = editor(**PLAIN).edit(given, REQUESTS[:1])
    expected = other.edit(given, REQUESTS[1:], first.state)
    assert_equal(editor(**PLAIN).edit(given, REQUESTS[1:], first.state).delta, expected.delta, 1e-6)


def test_without_memory_as_well_it_is_memit() -> None:
    given = context()
    memit = MemitEditor(MemitConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    state = editor().edit(given, REQUESTS[:1]).state
    found = editor(**PLAIN, memory=False).edit(given, REQUESTS[1:], state)
    assert_equal(found.delta, memit.edit(given, REQUESTS[1:]).delta, 1e-6)


def test_the_norm_falls_with_the_constraint() -> None:
    """Of the first layer, whose keys and residuals do not depend on it."""
    given = context()
    name = given.model.parts.down_weight(0)
    norms = [
        editor(norm_weight=weight).edit(given, REQUESTS).delta.updates[name].norm()
        for weight in (0, 1, 10, 100)
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.2 * norms[0]


@pytest.mark.parametrize("agreement", ["templates", "released"])
def test_the_search_stops_once_the_templates_agree(agreement: str) -> None:
    unbound = {"kl_factor": 0, "weight_decay": 0, "clamp_norm_factor": 4, "stop_loss": 0}
    options = {"steps": 20, **unbound, "agreement": agreement}
    given, ends_there = context(), EditRequest(0, "{}", "Coral", "Osdor", "Elro")
    steps = [
        editor(agreement_steps=number, **options).edit(given, [ends_there]).diagnostics["steps"]
        for number in (1, 2, None)
    ]
    assert steps[0] < steps[1] < steps[2] == 20
