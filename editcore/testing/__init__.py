"""For tests of plugins: tiny models, contexts to edit them in, and conformance suites.

    from editcore.testing import EditorConformance

    class TestMine(EditorConformance):
        editor = "mine"
        options = {"layer": 1}

Needs pytest; nothing else in editcore imports this package.
"""

import pytest

# Before the suites are imported, so that their assertions show what differs.
pytest.register_assert_rewrite(
    "editcore.testing.suite",
    "editcore.testing.assertions",
    "editcore.testing.bench",
    "editcore.testing.family_suite",
    "editcore.testing.judge_suite",
)

from editcore.testing.assertions import (  # noqa: E402
    assert_continues_from_file,
    assert_same_delta,
)
from editcore.testing.bench import Bench  # noqa: E402
from editcore.testing.contexts import tiny_context  # noqa: E402
from editcore.testing.family_suite import ModelFamilyConformance  # noqa: E402
from editcore.testing.judge_suite import JudgeConformance  # noqa: E402
from editcore.testing.models import (  # noqa: E402
    KINDS,
    KINDS_BY_TRAIT,
    KINDS_IN_FLOAT64,
    SENTENCES,
    save_tiny_model,
    tiny_facts,
    tiny_model,
    tiny_model_of_type,
    tiny_requests,
    tiny_tokenizer,
)
from editcore.testing.suite import EditorConformance  # noqa: E402

__all__ = [
    "KINDS",
    "KINDS_BY_TRAIT",
    "KINDS_IN_FLOAT64",
    "SENTENCES",
    "Bench",
    "EditorConformance",
    "JudgeConformance",
    "ModelFamilyConformance",
    "assert_continues_from_file",
    "assert_same_delta",
    "save_tiny_model",
    "tiny_context",
    "tiny_facts",
    "tiny_model",
    "tiny_model_of_type",
    "tiny_requests",
    "tiny_tokenizer",
]
