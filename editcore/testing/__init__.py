"""For the tests of plugins: tiny models, and the suite that every editor passes.

    from editcore.testing import EditorConformance

    class TestMine(EditorConformance):
        editor = "mine"
        options = {"layer": 1}

Needs pytest; nothing else in editcore imports this package.
"""

import pytest

# Before the suite is imported: its assertions then say what differed.
pytest.register_assert_rewrite("editcore.testing.suite")

from editcore.testing.models import (  # noqa: E402
    KINDS,
    SENTENCES,
    save_tiny_model,
    tiny_facts,
    tiny_model,
    tiny_requests,
    tiny_tokenizer,
)
from editcore.testing.suite import Bench, EditorConformance  # noqa: E402

__all__ = [
    "KINDS",
    "SENTENCES",
    "Bench",
    "EditorConformance",
    "save_tiny_model",
    "tiny_facts",
    "tiny_model",
    "tiny_requests",
    "tiny_tokenizer",
]
