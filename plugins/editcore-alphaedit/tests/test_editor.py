"""The projector keeps running text, and without it AlphaEdit is ridge regression."""

import pytest
import torch
from editcore_alphaedit.config import AlphaEditConfig
from editcore_alphaedit.editor import AlphaEditEditor
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor
from safetensors.torch import load_file, save_file

from editcore import EditContext, Prefixes, RequestError, Spectrum
from editcore.testing import tiny_model, tiny_requests
from editcore.toolkit import ContextPrefixes, MomentSpectrum, SecondMoment, wrap_model

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def context(kind: str = "llama", *, identity: bool = False) -> EditContext:
    model = wrap_model(kind, *tiny_model(kind))
    width = model.parts.down(0).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    matrix = torch.eye(width) if identity else samples.T @ samples / len(samples)
    moments = {layer: SecondMoment.from_matrix(layer, matrix, len(samples)) for layer in LAYERS}
    spectra = {layer: MomentSpectrum.of(moment) for layer, moment in moments.items()}
    prefixes = ContextPrefixes(("{}", "I think. {}"), kind, 0)
    return EditContext(model, prefixes, moments, spectra=spectra)


def editor(**options: float) -> AlphaEditEditor:
    return AlphaEditEditor(AlphaEditConfig(layers=LAYERS, steps=3, **options))


def assert_equal(found, expected, tolerance: float) -> None:
    assert found.updates.keys() == expected.updates.keys()
    for name, update in expected.updates.items():
        difference = (found.updates[name].dense() - update.dense()).norm()
        assert float(difference) <= tolerance * update.norm()


def test_options_ask_for_their_artefacts() -> None:
    asked = AlphaEditConfig(layers=(3, 4)).requires()
    assert asked == (Prefixes(), Spectrum(3), Spectrum(4))


@pytest.mark.parametrize("number", [1, 3])
def test_with_all_directions_it_is_memit_with_the_identity_for_c(number: int) -> None:
    """P = I leaves R Kᵀ (K Kᵀ + L2·I)⁻¹, which is MEMIT's with C = I and λ = L2."""
    found = editor(kept_share=1, l2=2.0).edit(context(), REQUESTS[:number]).delta
    memit = MemitEditor(MemitConfig(layers=LAYERS, steps=3, moment_weight=2.0))
    assert_equal(found, memit.edit(context(identity=True), REQUESTS[:number]).delta, 1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_directions_above_the_threshold_do_not_change(kind: str) -> None:
    given = context(kind)
    values, vectors = given.spectra[0].values, given.spectra[0].vectors
    threshold = float(values.median())
    result = editor(threshold=threshold).edit(given, REQUESTS)
    for layer in LAYERS:
        change = result.delta.updates[given.model.parts.down_weight(layer)].dense().double()
        assert float((change @ vectors[:, values >= threshold]).norm()) < 1e-5 * change.norm()
        assert float((change @ vectors[:, values < threshold]).norm()) > 0.9 * change.norm()


def test_the_rank_kept_is_reported_by_layer() -> None:
    given = context()
    width = len(given.spectra[0].values)
    found = editor(kept_share=0.25).edit(given, REQUESTS).diagnostics
    assert found["kept_rank.1"] == round(width / 4)
    assert found["kept_share.1"] == found["kept_rank.1"] / width
    matrix = given.moments[1].matrix
    least = float(torch.linalg.eigvalsh(matrix)[0])
    assert found["least_eigenvalue.1"] == pytest.approx(least, rel=1e-6)


def test_a_threshold_that_keeps_nothing_is_refused_with_the_least_eigenvalue() -> None:
    given = context()
    least = float(given.spectra[0].values[0])
    message = rf"threshold 1e-06 keeps none.*at layer 0.* is {least:.3g}; raise it"
    with pytest.raises(RequestError, match=message):
        editor(threshold=1e-6).edit(given, REQUESTS)
    results = list(editor(threshold=1e-6).edit_each(given, REQUESTS))
    assert [result.status for result in results] == [results[0].status] * 3
    assert "keeps none" in results[0].status


def test_memory_holds_later_edits_back() -> None:
    """S of the first edit makes tr(ΔSΔᵀ) of the next smaller than without it."""
    given = context()
    first = editor(kept_share=1, l2=1e-3).edit(given, REQUESTS[:1])
    name = given.model.parts.down_weight(0)
    costs = []
    for state in (None, first.state):
        delta = editor(kept_share=1, l2=1e-3).edit(given, REQUESTS[1:], state).delta
        change = delta.updates[name].dense().double()
        costs.append(float(torch.trace(change @ first.state["0"] @ change.T)))
    assert costs[1] < 0.5 * costs[0]


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    given, path = context(), tmp_path / "state.safetensors"
    first = editor(kept_share=0.5).edit(given, REQUESTS[:1])
    with first.delta.applied(given.model.model):
        expected = editor(kept_share=0.5).edit(given, REQUESTS[1:], first.state)
        save_file(dict(editor().save_state(first.state)), path)
        found = editor(kept_share=0.5).edit(
            given, REQUESTS[1:], editor().load_state(given, load_file(path))
        )
    assert_equal(found.delta, expected.delta, 0)
