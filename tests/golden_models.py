"""The small models of the golden vectors, their facts, and what an edit of the Llama reads.

The files are of the tests of editcore-rome and editcore-memit; other plugins' tests use them too.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file

from editcore import EditContext, EditRequest
from editcore.toolkit import (
    ContextPrefixes,
    LoadedModel,
    MomentSpectrum,
    SecondMoment,
    load_model,
)

PLUGINS = Path(__file__).parents[1] / "plugins"
ROME, MEMIT = (PLUGINS / f"editcore-{name}" / "tests" / "golden" for name in ("rome", "memit"))
# Of the Llama: the layers with a C, and the name of a down-projection.
LAYERS = (1, 2)
WEIGHT = "model.layers.{}.mlp.down_proj.weight"


def golden_model(family: str = "llama") -> LoadedModel:
    """A small model with weights in the repository: `llama` or `gpt2`."""
    return load_model("golden", str(ROME / family / "model"))


def golden_requests(family: str = "llama") -> list[EditRequest]:
    """The facts that its vectors are of; a fact's place is its case id."""
    cases = json.loads((ROME / family / "expected.json").read_text())["cases"]
    asked = ("prompt", "subject", "target_new", "target_true")
    return [EditRequest(i, *(case[key] for key in asked)) for i, case in enumerate(cases)]


def golden_context() -> EditContext:
    """The Llama with MEMIT's context templates, and with C and its spectrum at `LAYERS`."""
    rome, memit = (load_file(folder / "llama" / "expected.safetensors") for folder in (ROME, MEMIT))
    tensors = rome | memit
    bare, sampled = json.loads((MEMIT / "llama" / "expected.json").read_text())["prefixes"]
    moments = {n: SecondMoment.from_matrix(n, tensors[f"cov.{n}"], 0) for n in LAYERS}
    return EditContext(
        golden_model(),
        ContextPrefixes((*bare, *sampled), "golden", 0),
        moments,
        spectra={layer: MomentSpectrum.of(moment) for layer, moment in moments.items()},
    )


@contextmanager
def kept(model: LoadedModel) -> Iterator[None]:
    """A block after which the model's weights are as they were."""
    before = {name: tensor.clone() for name, tensor in model.model.state_dict().items()}
    try:
        yield
    finally:
        model.model.load_state_dict(before)


def assert_close(found: torch.Tensor, golden: torch.Tensor) -> None:
    """Assert that the cosine is at least 0.9999, and that norms differ by at most 0.1 %."""
    found, golden = found.double().flatten(), golden.double().flatten()
    cosine = float(torch.cosine_similarity(found, golden, 0))
    assert cosine >= 0.9999, f"the cosine is {cosine}"
    torch.testing.assert_close(found.norm(), golden.norm(), rtol=1e-3, atol=0)
