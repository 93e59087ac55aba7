"""Every shipped editor passes the suite, and editors that break their contract do not."""

from typing import Any, ClassVar

from editcore.testing import KINDS_BY_TRAIT, EditorConformance

# ROME, MEND and FT are tested on every kind: between them, they use keys and v*, gradients, and
# whole weights. The others reach the model in the same ways, so one kind for each trait is enough.


class TestRome(EditorConformance):
    editor = "rome"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestCRome(EditorConformance):
    editor = "c-rome"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestPRome(EditorConformance):
    editor = "p-rome"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestMemit(EditorConformance):
    editor = "memit"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestMemitSeq(EditorConformance):
    editor = "memit-seq"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestAlphaEdit(EditorConformance):
    editor = "alphaedit"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3, "kept_share": 0.7}


class TestEncore(EditorConformance):
    editor = "encore"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestEmmet(EditorConformance):
    editor = "emmet"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestBetaEdit(EditorConformance):
    editor = "betaedit"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3, "threshold": 0.05}


class TestLyapLock(EditorConformance):
    editor = "lyaplock"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestPmet(EditorConformance):
    editor = "pmet"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestNse(EditorConformance):
    editor = "nse"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3, "near": 0, "rounds": 2}


class TestMend(EditorConformance):
    editor = "mend"
    options: ClassVar[dict[str, Any]] = {
        "layers": (1, 2), "exclude": (), "rank": 4, "steps": 2, "batch": 2, "initial_step": 0.05,
    }  # fmt: skip


class TestMalmen(EditorConformance):
    editor = "malmen"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {
        "layers": (1, 2), "exclude": (), "rank": 4, "steps": 2, "batch": 16, "maps": "all",
    }  # fmt: skip


class TestFt(EditorConformance):
    editor = "ft"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestFtUnconstrained(EditorConformance):
    editor = "ft-unconstrained"
    kinds = KINDS_BY_TRAIT
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3, "loss": "last_prompt_token"}


class TestNoop(EditorConformance):
    editor = "noop"
    kinds = KINDS_BY_TRAIT
