"""BetaEdit's limit is AlphaEdit, and its projector is remade from the edited keys."""

import pytest
import torch
from editcore_alphaedit.config import AlphaEditConfig
from editcore_alphaedit.editor import AlphaEditEditor
from editcore_betaedit.config import BetaEditConfig
from editcore_betaedit.editor import BetaEditEditor
from safetensors.torch import load_file, save_file

from editcore import EditContext, RequestError
from editcore.testing import tiny_model, tiny_requests
from editcore.toolkit import ContextPrefixes, Delta, MomentSpectrum, SecondMoment, wrap_model

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def context() -> EditContext:
    model = wrap_model("llama", *tiny_model("llama"))
    width = model.parts.down(0).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    matrix = samples.T @ samples / len(samples)
    moments = {layer: SecondMoment.from_matrix(layer, matrix, len(samples)) for layer in LAYERS}
    spectra = {layer: MomentSpectrum.of(moment) for layer, moment in moments.items()}
    prefixes = ContextPrefixes(("{}", "I think. {}"), "llama", 0)
    return EditContext(model, prefixes, moments, spectra=spectra)


def editor(**options: float) -> BetaEditEditor:
    given = {"threshold": 1.0, "moment_weight": 1.0, "steps": 3, **options}
    return BetaEditEditor(BetaEditConfig(layers=LAYERS, **given))


def assert_equal(found, expected, tolerance: float) -> None:
    for name, update in expected.updates.items():
        difference = (found.updates[name].dense() - update.dense()).norm()
        assert float(difference) <= tolerance * update.norm()


def test_without_weight_of_c_and_renewal_it_is_alphaedit() -> None:
    given = context()
    alpha = AlphaEditEditor(AlphaEditConfig(layers=LAYERS, steps=3, threshold=1.0))
    first = alpha.edit(given, REQUESTS[:1])
    beta = editor(moment_weight=0)
    assert_equal(beta.edit(given, REQUESTS[:1]).delta, first.delta, 1e-6)
    state = beta.edit(given, REQUESTS[:1]).state
    expected = alpha.edit(given, REQUESTS[1:], first.state)
    assert_equal(beta.edit(given, REQUESTS[1:], state).delta, expected.delta, 1e-5)


def test_the_projector_is_remade_each_time_that_many_facts_were_edited() -> None:
    given, state, renewed = context(), None, []
    for number in (1, 1, 2, 1):
        state = editor(renew_every=2).edit(given, REQUESTS[:number], state).state
        renewed.append((int(state["facts"]), int(state["renewed"])))
    assert renewed == [(1, 0), (2, 2), (4, 4), (5, 4)]


def test_the_remade_projector_leaves_out_what_the_edits_used() -> None:
    """With little weight of C, P removes the mean direction of the edited keys."""
    given = context()
    first = editor(moment_weight=1e-6, threshold=10.0, renew_every=1)
    memory = first.edit(given, REQUESTS).state
    values, vectors = torch.linalg.eigh(memory["0"] / 3)
    kept = editor(moment_weight=1e-6, threshold=float(values[-1]) / 2, renew_every=1)
    after = kept.remember(given, None, Delta({}), {0: _keys(memory), 1: _keys(memory)})
    top = vectors[:, -1]
    assert float((after["kept.0"].T @ top).norm()) < 0.05
    assert after["kept.0"].shape[1] >= len(top) - 3


def test_a_threshold_that_keeps_nothing_is_refused_with_the_least_eigenvalue() -> None:
    given = context()
    least = float(given.spectra[0].values[0])
    with pytest.raises(RequestError, match=rf"keeps none.*layer 0.* is {least:.3g}; raise it"):
        editor(threshold=1e-6).edit(given, REQUESTS)


def _keys(memory) -> torch.Tensor:
    """Three keys whose sum of products is the memory of layer 0."""
    values, vectors = torch.linalg.eigh(memory["0"])
    return (vectors[:, -3:] * values[-3:].sqrt()).float()


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    given, path = context(), tmp_path / "state.safetensors"
    first = editor(renew_every=1).edit(given, REQUESTS[:1])
    with first.delta.applied(given.model.model):
        expected = editor(renew_every=1).edit(given, REQUESTS[1:], first.state)
        save_file(dict(editor().save_state(first.state)), path)
        loaded = editor().load_state(given, load_file(path))
        found = editor(renew_every=1).edit(given, REQUESTS[1:], loaded)
    assert_equal(found.delta, expected.delta, 0)
    assert all(torch.equal(found.state[key], expected.state[key]) for key in expected.state)
