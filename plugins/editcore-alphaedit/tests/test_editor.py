"""The projector keeps running text, and without it AlphaEdit is ridge regression."""

from dataclasses import replace

import pytest
import torch
from editcore_alphaedit.config import AlphaEditConfig
from editcore_alphaedit.editor import AlphaEditEditor
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor

from editcore import Prefixes, RequestError, Spectrum, Values
from editcore.testing import (
    assert_continues_from_file,
    assert_same_delta,
    tiny_context,
    tiny_requests,
)
from editcore.toolkit import SecondMoment

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def editor(**options: float) -> AlphaEditEditor:
    return AlphaEditEditor(AlphaEditConfig(layers=LAYERS, steps=3, **options))


def test_options_ask_for_their_artefacts() -> None:
    config = AlphaEditConfig(layers=(3, 4))
    values = Values(config.value_options())
    assert config.requires() == (Prefixes(), values, Spectrum(3), Spectrum(4))


@pytest.mark.parametrize("number", [1, 3])
def test_with_all_directions_it_is_memit_with_the_identity_for_c(number: int) -> None:
    """P = I leaves R Kᵀ (K Kᵀ + L2·I)⁻¹, which is MEMIT's with C = I and λ = L2."""
    given = tiny_context()
    width = len(given.moments[0].matrix)
    identity = {n: SecondMoment.from_matrix(n, torch.eye(width), 1) for n in LAYERS}
    found = editor(kept_share=1, l2=2.0).edit(given, REQUESTS[:number])
    memit = MemitEditor(MemitConfig(layers=LAYERS, steps=3, moment_weight=2.0))
    expected = memit.edit(replace(given, moments=identity), REQUESTS[:number])
    assert_same_delta(found.delta, expected.delta, tolerance=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_directions_above_the_threshold_do_not_change(kind: str) -> None:
    given = tiny_context(kind)
    values, vectors = given.spectra[0].values, given.spectra[0].vectors
    threshold = float(values.median())
    result = editor(threshold=threshold).edit(given, REQUESTS)
    for layer in LAYERS:
        change = result.delta.updates[given.model.parts.down_weight(layer)].dense().double()
        assert float((change @ vectors[:, values >= threshold]).norm()) < 1e-5 * change.norm()
        assert float((change @ vectors[:, values < threshold]).norm()) > 0.9 * change.norm()


def test_the_rank_kept_is_reported_by_layer() -> None:
    given = tiny_context()
    width = len(given.spectra[0].values)
    found = editor(kept_share=0.25).edit(given, REQUESTS).diagnostics
    assert found["kept_rank.1"] == round(width / 4)
    assert found["kept_share.1"] == found["kept_rank.1"] / width
    matrix = given.moments[1].matrix
    least = float(torch.linalg.eigvalsh(matrix)[0])
    assert found["least_eigenvalue.1"] == pytest.approx(least, rel=1e-6)


def test_a_threshold_that_keeps_nothing_is_refused_with_the_least_eigenvalue() -> None:
    given = tiny_context()
    least = float(given.spectra[0].values[0])
    message = rf"threshold 1e-06 keeps none.*at layer 0.* is {least:.3g}; raise it"
    with pytest.raises(RequestError, match=message):
        editor(threshold=1e-6).edit(given, REQUESTS)
    results = list(editor(threshold=1e-6).edit_each(given, REQUESTS))
    assert [result.status for result in results] == [results[0].status] * 3
    assert "keeps none" in results[0].status


def test_memory_holds_later_edits_back() -> None:
    """S of the first edit makes tr(ΔSΔᵀ) of the next smaller than without it."""
    given = tiny_context()
    first = editor(kept_share=1, l2=1e-3).edit(given, REQUESTS[:1])
    name = given.model.parts.down_weight(0)
    costs = []
    for state in (None, first.state):
        delta = editor(kept_share=1, l2=1e-3).edit(given, REQUESTS[1:], state).delta
        change = delta.updates[name].dense().double()
        costs.append(float(torch.trace(change @ first.state["0"] @ change.T)))
    assert costs[1] < 0.5 * costs[0]


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    assert_continues_from_file(editor(kept_share=0.5), tiny_context(), tmp_path / "state")
