"""BetaEdit's limit is AlphaEdit, and its projector is remade from the edited keys."""

import pytest
import torch
from editcore_alphaedit.config import AlphaEditConfig
from editcore_alphaedit.editor import AlphaEditEditor
from editcore_betaedit.config import BetaEditConfig
from editcore_betaedit.editor import BetaEditEditor

from editcore import RequestError
from editcore.testing import (
    assert_continues_from_file,
    assert_same_delta,
    tiny_context,
    tiny_requests,
)
from editcore.toolkit import Delta

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def editor(**options: float) -> BetaEditEditor:
    given = {"threshold": 1.0, "moment_weight": 1.0, "steps": 3, **options}
    return BetaEditEditor(BetaEditConfig(layers=LAYERS, **given))


def test_without_weight_of_c_and_renewal_it_is_alphaedit() -> None:
    given = tiny_context()
    alpha = AlphaEditEditor(AlphaEditConfig(layers=LAYERS, steps=3, threshold=1.0))
    first = alpha.edit(given, REQUESTS[:1])
    beta = editor(moment_weight=0)
    assert_same_delta(beta.edit(given, REQUESTS[:1]).delta, first.delta, tolerance=1e-6)
    state = beta.edit(given, REQUESTS[:1]).state
    expected = alpha.edit(given, REQUESTS[1:], first.state)
    assert_same_delta(beta.edit(given, REQUESTS[1:], state).delta, expected.delta, tolerance=1e-5)


def test_the_projector_is_remade_each_time_that_many_facts_were_edited() -> None:
    given, state, renewed = tiny_context(), None, []
    for number in (1, 1, 2, 1):
        state = editor(renew_every=2).edit(given, REQUESTS[:number], state).state
        renewed.append((int(state["facts"]), int(state["renewed"])))
    assert renewed == [(1, 0), (2, 2), (4, 4), (5, 4)]


def test_the_remade_projector_leaves_out_what_the_edits_used() -> None:
    """With little weight of C, P removes the mean direction of the edited keys."""
    given = tiny_context()
    first = editor(moment_weight=1e-6, threshold=10.0, renew_every=1)
    memory = first.edit(given, REQUESTS).state
    values, vectors = torch.linalg.eigh(memory["0"] / 3)
    kept = editor(moment_weight=1e-6, threshold=float(values[-1]) / 2, renew_every=1)
    after = kept.remember(given, None, Delta({}), {0: _keys(memory), 1: _keys(memory)})
    top = vectors[:, -1]
    assert float((after["kept.0"].T @ top).norm()) < 0.05
    assert after["kept.0"].shape[1] >= len(top) - 3


def test_a_threshold_that_keeps_nothing_is_refused_with_the_least_eigenvalue() -> None:
    given = tiny_context()
    least = float(given.spectra[0].values[0])
    with pytest.raises(RequestError, match=rf"keeps none.*layer 0.* is {least:.3g}; raise it"):
        editor(threshold=1e-6).edit(given, REQUESTS)


def _keys(memory) -> torch.Tensor:
    """Three keys whose sum of products is the memory of layer 0."""
    values, vectors = torch.linalg.eigh(memory["0"])
    return (vectors[:, -3:] * values[-3:].sqrt()).float()


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    assert_continues_from_file(editor(renew_every=1), tiny_context(), tmp_path / "state")
