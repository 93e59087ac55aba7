"""ENCORE's limits are MEMIT and MEMIT-Seq, and its search stops when the templates agree."""

import pytest
from editcore_encore.config import EncoreConfig
from editcore_encore.editor import EncoreEditor
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from editcore_memit_seq.config import MemitSeqConfig
from editcore_memit_seq.editor import MemitSeqEditor

from editcore import EditRequest
from editcore.testing import assert_same_delta, tiny_context, tiny_requests

LAYERS = (0, 1)
REQUESTS = tiny_requests()
PLAIN = {"norm_weight": 0, "agreement_steps": None}


def editor(**options: object) -> EncoreEditor:
    return EncoreEditor(
        EncoreConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options})
    )


def test_without_norm_constraint_and_early_stop_it_is_memit_seq() -> None:
    given = tiny_context()
    other = MemitSeqEditor(MemitSeqConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    first = editor(**PLAIN).edit(given, REQUESTS[:1])
    expected = other.edit(given, REQUESTS[1:], first.state)
    found = editor(**PLAIN).edit(given, REQUESTS[1:], first.state)
    assert_same_delta(found.delta, expected.delta, tolerance=1e-6)


def test_without_memory_as_well_it_is_memit() -> None:
    given = tiny_context()
    memit = MemitEditor(MemitConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    state = editor().edit(given, REQUESTS[:1]).state
    found = editor(**PLAIN, memory=False).edit(given, REQUESTS[1:], state)
    assert_same_delta(found.delta, memit.edit(given, REQUESTS[1:]).delta, tolerance=1e-6)


def test_the_norm_falls_with_the_constraint() -> None:
    """Of the first layer, whose keys and residuals do not depend on it."""
    given = tiny_context()
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
    given, ends_there = tiny_context(), EditRequest(0, "{}", "Coral", "Osdor", "Elro")
    steps = [
        editor(agreement_steps=number, **options).edit(given, [ends_there]).diagnostics["steps"]
        for number in (1, 2, None)
    ]
    assert steps[0] < steps[1] < steps[2] == 20
