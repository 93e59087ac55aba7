"""Every shipped editor passes the suite, and editors that break their contract do not."""

from typing import Any, ClassVar

from editcore.testing import EditorConformance


class TestRome(EditorConformance):
    editor = "rome"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestCRome(EditorConformance):
    editor = "c-rome"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestPRome(EditorConformance):
    editor = "p-rome"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestMemit(EditorConformance):
    editor = "memit"
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestMend(EditorConformance):
    editor = "mend"
    options: ClassVar[dict[str, Any]] = {
        "layers": (1, 2), "exclude": (), "rank": 4, "steps": 2, "batch": 2, "initial_step": 0.05,
    }  # fmt: skip


class TestFt(EditorConformance):
    editor = "ft"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestFtUnconstrained(EditorConformance):
    editor = "ft-unconstrained"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3, "loss": "last_prompt_token"}


class TestNoop(EditorConformance):
    editor = "noop"
