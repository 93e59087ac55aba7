"""Commands and warm servers load no library that editing never uses, and do the same without."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import editcore_lean
import editcore_warm
from editcore.config.texts import PrefixSection
from editcore.planning.jobs import ModelSpec, PrefixJob
from editcore_start import WARM

UNUSED = {
    "IPython",
    "datasets",
    "lm_eval",
    "matplotlib",
    "networkx",
    "numba",
    "peft",
    "scipy",
    "sklearn",
    "snakemake",
    "sympy",
    "tensorflow",
    "torch._dynamo",
    "torch._inductor",
    "torch.distributed.fsdp",
    "torch.distributed.tensor",
    "torch.onnx",
    "torchvision",
}
OF_TASKS = {"datasets", "lm_eval"}  # which half of a study's jobs run
COSTS = ("seconds", "seconds_editing", "peak_memory")
AT_EXIT = """
import atexit, os, pathlib, sys
seen = pathlib.Path({folder!r})
atexit.register(lambda: (seen / str(os.getpid())).write_text("\\n".join(sys.modules)))
"""
MODEL = "transformers.modeling_utils"  # in a process that had a model
PLAIN = "import editcore_lean; editcore_lean.install = lambda: None\n"
COMMAND = "import editcore_start; editcore_start.editcore()"
LEAN = "import editcore_lean; editcore_lean.install()\n"


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where every process writes the names of its modules when it ends."""
    folder, site = tmp_path / "seen", tmp_path / "site"
    folder.mkdir()
    site.mkdir()
    (site / "sitecustomize.py").write_text(AT_EXIT.format(folder=str(folder)))
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)
    return folder


@pytest.fixture
def check(saved_model: Callable[[str], Path], tmp_path: Path) -> list[str]:
    """The arguments of one edit of a small model."""
    templates = tmp_path / "templates.txt"
    templates.write_text("{}\nI think. {}\n")
    settings = ("layer=1", "steps=2", "second_moment=false")
    return [
        *("check", "--model", str(saved_model("gpt2")), "--editor", "rome", "--no-calibrate"),
        *("--prompt", "{} is made by", "--subject", "Coral", "--target", "Elro", "--json"),
        *("--templates", str(templates), "--cache", str(tmp_path / "cache")),
        *(word for setting in settings for word in ("--set", setting)),
    ]


def python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A new process that runs this code."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def modules(folder: Path) -> set[str]:
    """All that the processes with a model had imported."""
    lists = [set(file.read_text().split()) for file in folder.iterdir()]
    assert any(MODEL in names for names in lists)
    return set().union(*lists)


def without_costs(report: str) -> dict[str, object]:
    """What a report contains, apart from what it cost to make."""
    return {name: value for name, value in json.loads(report).items() if name not in COSTS}


def test_a_command_loads_no_library_that_it_does_not_use_and_reports_the_same(
    check: list[str], seen: Path
) -> None:
    done = subprocess.run(["editcore", *check], capture_output=True, text=True, check=False)
    assert done.returncode in {0, 3, 4}, done.stderr
    assert not modules(seen) & UNUSED
    plain = python(PLAIN + COMMAND, *check)
    assert without_costs(plain.stdout) == without_costs(done.stdout)
    assert {"scipy", "torch._dynamo"} <= modules(seen)


def test_a_server_and_its_jobs_load_no_library_that_they_do_not_use(
    saved_model: Callable[[str], Path], seen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = editcore_warm.start()
    assert server is not None
    monkeypatch.setenv(WARM, server.path)
    model = ModelSpec(name="tiny", source=str(saved_model("llama")))
    prefixes = PrefixSection(lengths=((5, 2),), seeds=("The",))
    job, out = tmp_path / "job.json", tmp_path / "prefixes.json"
    job.write_text(PrefixJob(model=model, prefixes=prefixes, seed=0).as_json())
    command = ["editcore", "prefixes", "--job", str(job), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    server.close()
    assert done.returncode == 0, done.stderr
    assert len([*seen.iterdir()]) == 3  # the command, its job, and the server
    assert not modules(seen) & (UNUSED - OF_TASKS)


def test_everything_is_as_before_afterwards_and_stand_ins_lead_to_the_real_thing() -> None:
    done = python(
        LEAN
        + """
import gc, sys
import torch
from transformers import masking_utils

assert not [name for name in sys.modules if name.startswith(("torch._dynamo", "scipy"))]
assert "_dynamo" not in vars(torch)
assert gc.isenabled() and torch.distributed.is_available()
assert all(type(finder).__module__ != "editcore_lean" for finder in sys.meta_path)
assert "editcore_lean" not in type(sys.modules["transformers"].__spec__.loader).__module__

mask = dict(batch_size=1, q_length=4, kv_length=4, allow_is_causal_skip=False)
padding = torch.tensor([[False, True, True, True]])
expected = masking_utils.sdpa_mask(**mask, attention_mask=padding)
assert "torch._dynamo" not in sys.modules
found = masking_utils.sdpa_mask(**mask, attention_mask=padding, use_vmap=True)
assert "torch._dynamo" in sys.modules
assert torch.equal(found, expected) and not expected.all()

assert not hasattr(torch.distributed, "absent") and not hasattr(torch.distributed, "__wrapped__")
assert not isinstance(x := torch.randn(3), torch.distributed.tensor.DTensor)
assert torch.equal(torch.compile(lambda x: (x + 1).sin(), backend="eager")(x), (x + 1).sin())
from scipy import stats
assert stats.spearmanr([1, 2, 3], [2, 4, 9]).statistic == 1
"""
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "broken",
    [
        "editcore_lean.MARKS = ()",  # the compiler's first decorator is not known as one
        "editcore_lean.LIBRARIES += ('transformers.absent',)",  # all of it is imported by then
    ],
)
def test_what_cannot_be_imported_leanly_is_imported_as_usual(
    saved_model: Callable[[str], Path], broken: str
) -> None:
    done = python(
        LEAN
        + broken
        + """
import gc, sys
from editcore.models.loading import load_model

model = load_model("tiny", sys.argv[1])
import torch, transformers
assert gc.isenabled() and torch.distributed.is_available()
assert type(sys.modules["torch._dynamo"]).__module__ != "editcore_lean"
assert sys.modules["torch._dynamo"] is torch._dynamo and sys.modules["scipy"]
from transformers.utils import is_scipy_available, is_torch_distributed_available
assert is_scipy_available() and is_torch_distributed_available()
assert isinstance(model.model, sys.modules["transformers"].PreTrainedModel)
""",
        str(saved_model("gpt2")),
    )
    assert done.returncode == 0, done.stderr


def test_a_program_imports_transformers_as_usual_unless_it_asks_for_less() -> None:
    done = python(
        """
import importlib.util, sys
import editcore, editcore.cli, editcore_lean
assert all(type(finder).__module__ != "editcore_lean" for finder in sys.meta_path)
editcore_lean.install()
editcore_lean.install()
# A question whether it is there is no import.
assert importlib.util.find_spec("transformers").origin.endswith("__init__.py")
assert [type(finder).__module__ for finder in sys.meta_path].count("editcore_lean") == 1
"""
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_touched_where_transformers_is_imported() -> None:
    import transformers  # noqa: F401

    before = [*sys.meta_path]
    editcore_lean.install()
    assert sys.meta_path == before
