"""One round over all neurons is MEMIT-Seq; more rounds bring the facts nearer to their z."""

import pytest
import torch
from editcore_memit_seq.config import MemitSeqConfig
from editcore_memit_seq.editor import MemitSeqEditor
from editcore_nse.config import NseConfig
from editcore_nse.editor import NseEditor, largest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from editcore import EditContext, RequestError
from editcore.testing import tiny_model, tiny_requests
from editcore.toolkit import ContextPrefixes, SecondMoment, wrap_model

LAYERS = (0, 1)
REQUESTS = tiny_requests()
ALL = {"near": 0.0, "rounds": 1}


def context() -> EditContext:
    model = wrap_model("llama", *tiny_model("llama"))
    width = model.parts.down(0).weight.numel() // 32
    samples = torch.randn(4 * width, width, generator=torch.Generator().manual_seed(0))
    matrix = samples.T @ samples / len(samples)
    moments = {layer: SecondMoment.from_matrix(layer, matrix, len(samples)) for layer in LAYERS}
    return EditContext(model, ContextPrefixes(("{}", "I think. {}"), "llama", 0), moments)


def editor(**options: float) -> NseEditor:
    return NseEditor(NseConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options}))


def assert_equal(found, expected, tolerance: float) -> None:
    for name, update in expected.updates.items():
        difference = (found.updates[name].dense() - update.dense()).norm()
        assert float(difference) <= tolerance * update.norm()


def test_one_round_over_all_neurons_is_memit_seq() -> None:
    given = context()
    other = MemitSeqEditor(MemitSeqConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    first, expected = editor(**ALL).edit(given, REQUESTS[:1]), other.edit(given, REQUESTS[:1])
    assert_equal(first.delta, expected.delta, 1e-5)
    later = other.edit(given, REQUESTS[1:], expected.state)
    assert_equal(editor(**ALL).edit(given, REQUESTS[1:], first.state).delta, later.delta, 1e-5)


def test_more_rounds_bring_the_facts_nearer_to_their_z() -> None:
    given = context()
    cases = editor(**ALL)._seek(given, REQUESTS)
    targets = torch.stack([case.value.target for case in cases])
    away = []
    for rounds in (1, 2, 4):
        editing = editor(near=0.0, rounds=rounds)
        delta, _ = editing.write(given, cases, editing.solver(given, None))
        with delta.applied(given.model.model):
            reached = editing.observe(given, cases, LAYERS[-1])[1].T
        away.append(float((targets - reached).norm()))
    assert away == sorted(away, reverse=True)
    assert away[-1] < 0.9 * away[0]


def test_facts_that_are_near_get_no_further_round() -> None:
    """If one round is enough for all, others change nothing."""
    given = context()
    cases = editor(**ALL)._seek(given, REQUESTS)
    wide = editor(**ALL)
    delta, _ = wide.write(given, cases, wide.solver(given, None))
    with delta.applied(given.model.model):
        reached = wide.observe(given, cases, LAYERS[-1])[1].T
    left = (torch.stack([case.value.target for case in cases]) - reached).norm(dim=1)
    enough = editor(near=float(left.max()) * 1.01, rounds=5)
    again, _ = enough.write(given, cases, enough.solver(given, None))
    assert_equal(again, delta, 0)


@pytest.mark.parametrize("options", [{"near": 100.0}, {"near": 0.0, "far": 1e-3}])
def test_if_no_fact_is_in_between_the_message_names_the_distances(options) -> None:
    given = context()
    with pytest.raises(RequestError, match=r"no fact is between .* away from its z.*set near"):
        editor(**options).edit(given, REQUESTS)
    statuses = [result.status for result in editor(**options).edit_each(given, REQUESTS)]
    assert all("no fact is between" in status for status in statuses)


def test_only_the_neurons_with_the_largest_keys_change() -> None:
    given = context()
    delta = editor(neuron_share=0.5, **ALL).edit(given, REQUESTS).delta
    for update in delta.updates.values():
        changed = update.dense().abs().sum(0) > 0
        assert 0 < int(changed.sum()) < len(changed) / 2
    keys = torch.tensor([[1.0, 1.0], [-5.0, 0.0], [0.0, 3.0]])
    assert largest(keys, 0.5).tolist() == [1]
    assert largest(keys, 0.8).tolist() == [1, 2]
    assert largest(keys, 1.0).tolist() == [0, 1, 2]


def test_near_must_be_less_than_far() -> None:
    with pytest.raises(ValidationError, match=r"near \(9\) must be less than far \(5\)"):
        NseConfig(layers=(1,), near=9, far=5)


def test_a_sequence_continues_exactly_from_its_saved_memory(tmp_path) -> None:
    given, path = context(), tmp_path / "state.safetensors"
    options = {"near": 0.0, "rounds": 2, "neuron_share": 0.7}
    first = editor(**options).edit(given, REQUESTS[:1])
    with first.delta.applied(given.model.model):
        expected = editor(**options).edit(given, REQUESTS[1:], first.state)
        save_file(dict(editor().save_state(first.state)), path)
        loaded = editor().load_state(given, load_file(path))
        found = editor(**options).edit(given, REQUESTS[1:], loaded)
    assert_equal(found.delta, expected.delta, 0)
