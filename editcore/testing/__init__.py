"""For tests of plugins: tiny models, and conformance suites for editors and model families.

    from editcore.testing import EditorConformance

    class TestMine(EditorConformance):
        editor = "mine"
        options = {"layer": 1}

Needs pytest; nothing else in editcore imports this package.
"""

import pytest

# Before the suites are imported, so that their assertions show what differs.
pytest.register_assert_rewrite(
    "editcore.testing.suite", "editcore.testing.bench", "editcore.testing.family_suite"
)

from editcore.testing.bench import Bench  # noqa: E402
from editcore.testing.family_suite import ModelFamilyConformance  # noqa: E402
from editcore.testing.models import (  # noqa: E402
    KINDS,
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
    "KINDS_IN_FLOAT64",
    "SENTENCES",
    "Bench",
    "EditorConformance",
    "ModelFamilyConformance",
    "save_tiny_model",
    "tiny_facts",
    "tiny_model",
    "tiny_model_of_type",
    "tiny_requests",
    "tiny_tokenizer",
]
