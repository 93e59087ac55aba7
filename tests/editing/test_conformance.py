"""Every shipped editor passes the suite, and editors that break their contract do not."""

from typing import Any, ClassVar

from editcore.testing import EditorConformance

# One kind for each trait that an editor could trip over: transposed weights, parallel blocks, local
# attention, gated MLPs, normalised outputs and capped logits, flattened states, a norm after the
# sum, ALiBi, scaled logits, scaled outputs. Enough for an editor that shares its code with one that
# is tested on every kind.
TRAITS = (
    "gpt2", "gptj", "gpt-neo", "llama", "gemma2", "opt", "opt-post-norm", "bloom", "cohere",
    "granite",
)  # fmt: skip


class TestRome(EditorConformance):
    editor = "rome"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestCRome(EditorConformance):
    editor = "c-rome"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestPRome(EditorConformance):
    editor = "p-rome"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestMemit(EditorConformance):
    editor = "memit"
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestMemitSeq(EditorConformance):
    editor = "memit-seq"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestAlphaEdit(EditorConformance):
    editor = "alphaedit"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3, "kept_share": 0.7}


class TestEncore(EditorConformance):
    editor = "encore"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestEmmet(EditorConformance):
    editor = "emmet"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestBetaEdit(EditorConformance):
    editor = "betaedit"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3, "threshold": 0.05}


class TestLyapLock(EditorConformance):
    editor = "lyaplock"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestPmet(EditorConformance):
    editor = "pmet"
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3}


class TestNse(EditorConformance):
    editor = "nse"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layers": (0, 1), "steps": 3, "near": 0, "rounds": 2}


class TestMend(EditorConformance):
    editor = "mend"
    options: ClassVar[dict[str, Any]] = {
        "layers": (1, 2), "exclude": (), "rank": 4, "steps": 2, "batch": 2, "initial_step": 0.05,
    }  # fmt: skip


class TestMalmen(EditorConformance):
    editor = "malmen"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {
        "layers": (1, 2), "exclude": (), "rank": 4, "steps": 2, "batch": 16, "maps": "all",
    }  # fmt: skip


class TestFt(EditorConformance):
    editor = "ft"
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3}


class TestFtUnconstrained(EditorConformance):
    editor = "ft-unconstrained"
    kinds = TRAITS
    options: ClassVar[dict[str, Any]] = {"layer": 1, "steps": 3, "loss": "last_prompt_token"}


class TestNoop(EditorConformance):
    editor = "noop"
    kinds = TRAITS
