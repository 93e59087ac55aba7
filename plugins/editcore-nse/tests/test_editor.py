"""One round over all neurons is MEMIT-Seq; more rounds bring the facts nearer to their z."""

import pytest
import torch
from editcore_memit_seq.config import MemitSeqConfig
from editcore_memit_seq.editor import MemitSeqEditor
from editcore_nse.config import NseConfig
from editcore_nse.editor import NseEditor, largest
from pydantic import ValidationError

from editcore import RequestError
from editcore.testing import (
    assert_continues_from_file,
    assert_same_delta,
    tiny_context,
    tiny_requests,
)

LAYERS = (0, 1)
REQUESTS = tiny_requests()
ALL = {"near": 0.0, "rounds": 1}


def editor(**options: float) -> NseEditor:
    return NseEditor(NseConfig(layers=LAYERS, **{"moment_weight": 1.0, "steps": 3, **options}))


def test_one_round_over_all_neurons_is_memit_seq() -> None:
    given = tiny_context()
    other = MemitSeqEditor(MemitSeqConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    first, expected = editor(**ALL).edit(given, REQUESTS[:1]), other.edit(given, REQUESTS[:1])
    assert_same_delta(first.delta, expected.delta, tolerance=1e-5)
    later = editor(**ALL).edit(given, REQUESTS[1:], first.state)
    expected = other.edit(given, REQUESTS[1:], expected.state)
    assert_same_delta(later.delta, expected.delta, tolerance=1e-5)


def test_more_rounds_bring_the_facts_nearer_to_their_z() -> None:
    given = tiny_context()
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
    given = tiny_context()
    cases = editor(**ALL)._seek(given, REQUESTS)
    wide = editor(**ALL)
    delta, _ = wide.write(given, cases, wide.solver(given, None))
    with delta.applied(given.model.model):
        reached = wide.observe(given, cases, LAYERS[-1])[1].T
    left = (torch.stack([case.value.target for case in cases]) - reached).norm(dim=1)
    enough = editor(near=float(left.max()) * 1.01, rounds=5)
    again, _ = enough.write(given, cases, enough.solver(given, None))
    assert_same_delta(again, delta, tolerance=0)


@pytest.mark.parametrize("options", [{"near": 100.0}, {"near": 0.0, "far": 1e-3}])
def test_if_no_fact_is_in_between_the_message_names_the_distances(options) -> None:
    given = tiny_context()
    with pytest.raises(RequestError, match=r"no fact is between .* away from its z.*set near"):
        editor(**options).edit(given, REQUESTS)
    statuses = [result.status for result in editor(**options).edit_each(given, REQUESTS)]
    assert all("no fact is between" in status for status in statuses)


def test_only_the_neurons_with_the_largest_keys_change() -> None:
    given = tiny_context()
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
    editing = editor(near=0.0, rounds=2, neuron_share=0.7)
    assert_continues_from_file(editing, tiny_context(), tmp_path / "state")
