"""The first edit is MEMIT's; later ones minimise their objective, and the queue holds a budget."""

import pytest
import torch
from editcore_lyaplock.config import LyapLockConfig
from editcore_lyaplock.editor import LyapLockEditor
from editcore_memit.config import MemitConfig
from editcore_memit.editor import MemitEditor

from editcore import EditContext
from editcore.testing import (
    assert_continues_from_file,
    assert_same_delta,
    tiny_context,
    tiny_requests,
)
from editcore.toolkit import Delta, LowRankUpdate

LAYERS = (0, 1)
REQUESTS = tiny_requests()


def editor(**options: float) -> LyapLockEditor:
    given = {"moment_weight": 1.0, "steps": 3, **options}
    return LyapLockEditor(LyapLockConfig(layers=LAYERS, **given))


def drawn(given: EditContext, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Residuals and keys of two facts."""
    generator = torch.Generator().manual_seed(seed)
    width = len(given.moments[0].matrix)
    keys = torch.randn(width, 2, generator=generator)
    return torch.randn(32, 2, generator=generator), keys


def test_the_first_edit_is_memit_s() -> None:
    given = tiny_context()
    memit = MemitEditor(MemitConfig(layers=LAYERS, moment_weight=1.0, steps=3))
    found, expected = editor().edit(given, REQUESTS), memit.edit(given, REQUESTS)
    assert_same_delta(found.delta, expected.delta, tolerance=0)


def test_a_later_edit_is_the_least_of_what_it_minimises() -> None:
    """The objective, written with the weights themselves, rises in every direction from Δ."""
    given, lyap = tiny_context(), editor(moment_weight=3.0)
    name, matrix = given.model.parts.down_weight(0), given.moments[0].matrix
    start = given.model.model.get_parameter(name).detach().double()
    weight, state, past = start.clone(), None, []
    for seed in (0, 1):
        shares, keys = drawn(given, seed)
        change = lyap.solver(given, state)(0, shares, keys)
        weight = weight + change.dense().double()
        past.append((keys.double(), weight @ keys.double()))
        state = lyap.remember(given, state, Delta({name: change}), {0: keys})
    state = {**state, "queue.0": torch.tensor(2.5, dtype=torch.float64)}
    shares, keys = (part.double() for part in drawn(given, 2))
    best = lyap.solver(given, state)(0, shares.float(), keys.float()).dense().double()

    def cost(change: torch.Tensor) -> float:
        earlier = sum(((weight + change) @ k - v).norm() ** 2 for k, v in past)
        away = weight + change - start
        running = 3.0 * 2.5 * torch.trace(away @ matrix @ away.T)
        return float((change @ keys - shares).norm() ** 2 + earlier + running)

    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        step = 1e-2 * torch.randn(best.shape, generator=generator, dtype=torch.float64)
        assert cost(best + step) > cost(best) < cost(best - step)


def test_the_queue_rises_only_over_budget_and_by_how_far_it_is_over() -> None:
    given = tiny_context()
    name = given.model.parts.down_weight(0)
    matrix, key = given.moments[0].matrix, torch.zeros(len(given.moments[0].matrix), 1)
    outputs, inputs = torch.ones(32, 1), torch.ones(len(matrix), 1)
    unit = Delta({name: LowRankUpdate(outputs, inputs)})
    state, queues = None, []
    for _ in range(4):  # the change so far is n times the first, and its harm n² times
        state = editor(budget=8.0).remember(given, state, unit, {0: key})
        queues.append(float(state["queue.0"]))
    assert queues == pytest.approx([1, 1, 1 + 9 / 8 - 1, 9 / 8 + 16 / 8 - 1])


def test_the_budget_is_set_by_the_first_edit_that_changes_something() -> None:
    given = tiny_context()
    name = given.model.parts.down_weight(0)
    key = torch.zeros(len(given.moments[0].matrix), 1)
    outputs, state, found = torch.ones(32, 1), None, []
    for size in (0.0, 1.0, 1.0):
        delta = Delta({name: LowRankUpdate(size * outputs, torch.ones(len(key), 1))})
        state = editor(budget=0.5).remember(given, state, delta, {0: key})
        found.append((float(state["budget.0"]) > 0, float(state["queue.0"])))
    assert found == [(False, 1.0), (True, pytest.approx(2)), (True, pytest.approx(9))]


def test_a_smaller_budget_keeps_running_text_closer_to_what_it_was() -> None:
    given, harms = tiny_context(), []
    for budget in (1e6, 0.05):
        state, lyap = None, editor(budget=budget, moment_weight=0.1)
        name = given.model.parts.down_weight(0)
        for seed in range(6):
            change = lyap.solver(given, state)(0, *drawn(given, seed))
            state = lyap.remember(given, state, Delta({name: change}), {0: drawn(given, seed)[1]})
        since = state["change.0"]
        harms.append(float(torch.trace(since @ given.moments[0].matrix @ since.T)))
    assert harms[1] < 0.8 * harms[0]


def test_a_sequence_continues_exactly_from_its_saved_state(tmp_path) -> None:
    assert_continues_from_file(editor(), tiny_context(), tmp_path / "state")
