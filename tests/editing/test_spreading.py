"""Editors of MEMIT's family write the z that was planned for them."""

from dataclasses import replace
from pathlib import Path

import pytest

from editcore.editing.session import make_editor
from editcore.editing.spreading import SpreadingEditor
from editcore.keyvalue.value import Value
from editcore.keyvalue.value_file import StoredValues
from editcore.registry.registry import load_registry
from editcore.testing import assert_same_delta, tiny_context, tiny_requests

TEMPLATES = ("{}", "Therefore. {}", "I think. {}")
REQUESTS = tiny_requests()[:2]


@pytest.mark.parametrize("name", ["memit", "memit-seq", "lyaplock", "encore", "emmet"])
def test_a_planned_z_is_the_one_that_is_written(name: str) -> None:
    info = load_registry().editors[name].record
    options = {"layers": [0, 1], "steps": 3, "sampled_templates": 1}
    editing = make_editor(info, info.config.model_validate(options))
    assert isinstance(editing, SpreadingEditor)
    given = tiny_context("llama", TEMPLATES)
    search = editing.config.value_options()
    found = editing.values(given, REQUESTS)
    ids = [request.case_id for request in REQUESTS]
    planned = {search: StoredValues(Path("v"), dict(zip(ids, found, strict=True)))}
    searched, read = (
        list(editing.edit_each(each, REQUESTS)) for each in (given, replace(given, values=planned))
    )
    for one, other in zip(searched, read, strict=True):
        assert_same_delta(one.delta, other.delta, tolerance=1e-6)
    doubled = {
        case: replace(value, delta=2 * value.delta) if isinstance(value, Value) else value
        for case, value in zip(ids, found, strict=True)
    }
    moved = {search: StoredValues(Path("v"), doubled)}
    (other, *_) = editing.edit_each(replace(given, values=moved), REQUESTS)
    assert other.delta.norm() > 1.2 * read[0].delta.norm()
