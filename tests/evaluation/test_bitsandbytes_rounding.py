"""On a GPU with bitsandbytes, weights are rounded as it stores them, and tables name its formats.

There is no GPU here, so bitsandbytes computes on the CPU; if it is not installed, a double does.
"""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from editcore.errors import ModelError
from editcore.evaluation import rounding
from editcore.evaluation.treatments import bitsandbytes_rounding
from editcore.evaluation.treatments.bitsandbytes_rounding import BLOCK, rounded
from editcore.evaluation.treatments.compression import Compression
from editcore.models.loading import LoadedModel, load_model, wrap_model
from editcore.planning.jobs import ModelSpec, PerplexitySpec, RoundingJob
from editcore.records.model_schemas import ROUNDING
from editcore.records.tables import read_table
from editcore.runs import rounding as rounding_run
from editcore.runs.prepare import rounding_table
from editcore.testing.models import tiny_model
from tests import bitsandbytes_double
from tests.studies import TEXTS, write_json

BITS = rounding.BITS
FORMATS = {8: "bitsandbytes int8", 4: "bitsandbytes NF4"}


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    """The double in place of the library."""
    for name, module in bitsandbytes_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(params=["library", "double"])
def library(request: pytest.FixtureRequest) -> None:
    """The library where it is installed, and its double."""
    if request.param == "double":
        request.getfixturevalue("double")
    else:
        pytest.importorskip("bitsandbytes")


@pytest.fixture
def as_on_a_gpu(double: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding as for a model on a GPU, whose double is the CPU."""

    def compression(bits: int, device: object) -> Compression:
        return chosen(bits, "cuda")

    chosen = rounding.compression
    monkeypatch.setattr(rounding, "compression", compression)


def weight(*shape: int, seed: int = 0) -> Tensor:
    return 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_used_on_a_gpu_with_cuda_if_it_is_installed(
    double: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bits in BITS:
        for device in ("cuda", "cuda:1", torch.device("cuda", 0)):
            assert rounding.compression(bits, device).rounded_as == FORMATS[bits]
        for device in ("cpu", "mps"):
            assert rounding.compression(bits, device).rounded_as.startswith("GGUF Q")
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert rounding.compression(4, "cuda").rounded_as == "GGUF Q4_0"


@pytest.mark.parametrize("shape", [(70, 96), (7, 33), (64, 64)])
@pytest.mark.parametrize("bits", BITS)
def test_the_double_rounds_as_the_library_does(
    bits: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes")
    theirs = rounded(weight(*shape), bits)
    for name, module in bitsandbytes_double.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    torch.testing.assert_close(rounded(weight(*shape), bits), theirs, rtol=0, atol=1e-7)


@pytest.mark.usefixtures("library")
def test_8_bits_are_whole_steps_of_the_largest_weight_of_each_output() -> None:
    rows = torch.zeros(3, 40)
    rows[0, :4] = torch.tensor([127.0, 3.4, -2.6, 0.4])
    rows[1, :3] = torch.tensor([0.5, -63.5, 20.2])
    found = rounded(rows, 8)
    torch.testing.assert_close(found[0, :4], torch.tensor([127.0, 3.0, -3.0, 0.0]))
    torch.testing.assert_close(found[1, :3], torch.tensor([0.5, -63.5, 20.0]))
    assert not found[2].any()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("shape", [(6, 96), (5, 33)])
def test_4_bits_are_sixteen_numbers_in_each_block_which_continues_from_row_to_row(
    shape: tuple[int, int],
) -> None:
    given = weight(*shape)
    found = rounded(given, 4)
    assert found.shape == given.shape
    for block, own in zip(given.flatten().split(BLOCK), found.flatten().split(BLOCK), strict=True):
        largest = block.abs().argmax()
        assert own[largest] == block[largest]
        assert len(own.unique()) <= 16
        # The widest gap of NF4 is between -1 and -0.696.
        assert (own - block).abs().max() <= 0.153 * block.abs().max()
    assert torch.equal(rounded(found, 4), found)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", BITS)
def test_a_rounded_weight_keeps_its_dtype_and_the_order_of_its_numbers(
    bits: int, dtype: torch.dtype
) -> None:
    transposed = weight(96, 10).to(dtype).T
    found = rounded(transposed, bits)
    assert found.dtype == dtype
    assert torch.equal(found, rounded(transposed.contiguous(), bits))
    assert 0 < (found - transposed).float().norm() < 0.15 * transposed.float().norm()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("kind", ["gpt2", "llama"])
@pytest.mark.parametrize("bits", BITS)
def test_a_model_is_rounded_by_the_outputs_of_its_maps_and_is_then_as_before(
    kind: str, bits: int
) -> None:
    model: LoadedModel = wrap_model(kind, *tiny_model(kind))
    name = model.parts.down_weight(1)
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    d_out = model.model.config.hidden_size
    outputs_first = before[name].T if kind == "gpt2" else before[name]  # GPT-2 has Conv1D
    assert outputs_first.shape[0] == d_out
    with rounding.compression(bits, "cuda").applied(model):
        now = model.model.get_parameter(name).detach().clone()
    expected = rounded(outputs_first, bits)
    assert torch.equal(now.T if kind == "gpt2" else now, expected)
    assert all(torch.equal(before[key], now) for key, now in model.model.state_dict().items())


def test_a_library_that_cannot_compute_is_refused_and_the_model_is_as_before(
    double: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **named: object) -> None:
        raise RuntimeError("no library for CUDA 99")

    monkeypatch.setattr(sys.modules["bitsandbytes"].functional, "quantize_4bit", broken)
    model = wrap_model("gpt2", *tiny_model("gpt2"))
    before = {key: value.clone() for key, value in model.model.state_dict().items()}
    with (
        pytest.raises(ModelError, match="no library for CUDA 99; install one for this GPU, or"),
        rounding.compression(4, "cuda").applied(model),
    ):
        pass
    assert all(torch.equal(before[key], now) for key, now in model.model.state_dict().items())


@pytest.mark.usefixtures("as_on_a_gpu")
def test_the_scale_of_a_model_names_the_formats(tmp_path: Path, saved_model) -> None:
    texts = write_json(tmp_path / "texts.json", TEXTS)
    model = ModelSpec(name="small", source=str(saved_model("llama")))
    job = RoundingJob(model=model, perplexity=PerplexitySpec(path=str(texts), texts=2))
    rounding_run.run(job, tmp_path / "out.parquet")
    table = read_table(tmp_path / "out.parquet", ROUNDING)
    assert dict(table.select("bits", "rounded_as").rows()) == FORMATS
    assert table["kl_mean"].min() > 0


def test_the_cache_has_a_scale_for_each_format(
    double: None, tmp_path: Path, saved_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(saved_model("llama"))
    model = ModelSpec(name="small", source=source, device="cuda")
    texts = write_json(tmp_path / "texts.json", TEXTS)
    perplexity = PerplexitySpec(path=str(texts), texts=2)
    said: list[str] = []

    def place() -> Path:
        given = (model, perplexity, tmp_path / "cache", said.append)
        return rounding_table(*given, lambda *_: load_model("small", source))

    assert place() == place()
    assert len(said) == 1
    with_library = place()
    monkeypatch.setattr(bitsandbytes_rounding, "installed", lambda: False)
    assert place() != with_library
    assert len(said) == 2
