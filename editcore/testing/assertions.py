"""What the tests of editors assert about weight changes and sequences."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from editcore.editing.editor import EditContext, Editor
from editcore.testing.models import tiny_requests
from editcore.updates.delta import Delta


def assert_same_delta(found: Delta | None, expected: Delta | None, *, tolerance: float) -> None:
    """Assert that two deltas change the same parameters, by the same numbers.

    They may differ by `tolerance`, relative to the norm of each parameter's change; 0 means not at
    all.
    """
    assert found is not None
    assert expected is not None
    assert found.updates.keys() == expected.updates.keys()
    for name, update in expected.updates.items():
        difference = float((found.updates[name].dense() - update.dense()).double().norm())
        assert difference <= tolerance * update.norm(), name


def assert_continues_from_file(editor: Editor[Any], context: EditContext, path: Path) -> None:
    """Assert that a sequence continues exactly from the state that was saved in `path`.

    Another editor of the same options reads it. The next edit and the state after it must be the
    same, bit by bit. For editors that change weights and have a state.
    """
    first, *following = tiny_requests()
    begun = editor.edit(context, [first], editor.start(context))
    assert begun.delta is not None, begun.status
    save_file(dict(editor.save_state(begun.state)), path)
    again = type(editor)(editor.config)
    with begun.delta.applied(context.model.model):
        expected = editor.edit(context, following, begun.state)
        found = again.edit(context, following, again.load_state(context, load_file(path)))
    assert_same_delta(found.delta, expected.delta, tolerance=0)
    state, other = editor.save_state(expected.state), again.save_state(found.state)
    assert state
    assert other.keys() == state.keys()
    assert all(other[name].equal(tensor) for name, tensor in state.items())
