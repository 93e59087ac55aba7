"""The eigendecomposition of C is C again, and is read only with the model and C it is from."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from editcore.errors import DataError
from editcore.keyvalue import second_moment, spectrum
from editcore.keyvalue.second_moment import SecondMoment
from editcore.keyvalue.spectrum import MomentSpectrum
from editcore.planning import paths
from editcore.planning.artefacts.spectra import SpectrumJob
from editcore.planning.jobs import ModelSpec, MomentJob, TextSpec
from editcore.records import provenance
from editcore.records.tensors import save_tensors
from editcore.runs import artefacts
from editcore.testing.models import SENTENCES

MODEL = ModelSpec(name="tiny", source="models/tiny")


def moment(seed: int = 0, layer: int = 1) -> SecondMoment:
    samples = torch.randn(60, 8, generator=torch.Generator().manual_seed(seed))
    return SecondMoment.from_matrix(layer, samples.T @ samples / 60, 60)


def test_its_powers_are_those_of_c() -> None:
    given = moment()
    found = MomentSpectrum.of(given)
    eye = torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(found.power(1), given.matrix)
    torch.testing.assert_close(found.power(-1) @ given.matrix, eye)
    torch.testing.assert_close(found.power(0.5) @ found.power(0.5), given.matrix)
    assert found.values.tolist() == sorted(found.values.tolist())


def test_directions_below_a_threshold_are_those_that_text_uses_less() -> None:
    """For each unit vector in their span, kᵀv has a mean square below it, and else above it."""
    given = moment()
    found = MomentSpectrum.of(given)
    threshold = float(found.values[2:4].mean())
    kept = found.below(threshold)
    assert kept.shape == (8, 3)
    inside = torch.linalg.eigvalsh(kept.T @ given.matrix @ kept)
    others = found.vectors[:, 3:]
    assert inside.max() < threshold < torch.linalg.eigvalsh(others.T @ given.matrix @ others).min()
    assert torch.equal(found.lowest(3 / 8), kept)
    assert found.below(0).shape == (8, 0)


def test_a_c_of_few_tokens_has_no_negative_eigenvalue() -> None:
    key = torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    found = MomentSpectrum.of(SecondMoment.from_matrix(0, key.T @ key, 1))
    assert found.values.min() >= 0
    assert float(found.values[-1]) == pytest.approx(float((key**2).sum()), rel=1e-5)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A second moment of layer 1 and its spectrum, as a job writes them."""
    second_moment.save(moment(), tmp_path / "moments" / "layer-1.safetensors", {})
    job = SpectrumJob(model=MODEL, moments={1: str(tmp_path / "moments" / "layer-1.safetensors")})
    artefacts.write_spectra(job, tmp_path / "spectra")
    return Path(job.moments[1]), tmp_path / "spectra" / "layer-1.safetensors"


def test_it_is_read_as_written(files: tuple[Path, Path]) -> None:
    c, path = files
    found = spectrum.load_for(MODEL, 1, path, c)
    written = MomentSpectrum.of(second_moment.load(c))
    assert torch.equal(found.values, written.values)
    assert torch.equal(found.vectors, written.vectors)
    assert provenance.read(path)["made_from"] == str(c)


def test_it_is_refused_for_another_model_layer_or_c(files: tuple[Path, Path]) -> None:
    c, path = files
    other = MODEL.model_copy(update={"source": "models/other"})
    with pytest.raises(DataError, match=r"layer 1 of the model models/tiny .*models/other float32"):
        spectrum.load_for(other, 1, path, c)
    with pytest.raises(DataError, match="not of layer 2"):
        spectrum.load_for(MODEL, 2, path, c)
    second_moment.save(moment(seed=1), c, {})
    with pytest.raises(DataError, match="was not made from the second moment in"):
        spectrum.load_for(MODEL, 1, path, c)


@pytest.mark.parametrize(
    ("values", "vectors"),
    [(torch.ones(3), torch.eye(2)), (torch.ones(2), torch.eye(2) / 0)],
)
def test_a_malformed_spectrum_is_named(
    tmp_path: Path, values: torch.Tensor, vectors: torch.Tensor
) -> None:
    path = tmp_path / "s.safetensors"
    about = {"layer": "0", "moment": "", "bound_to": "models/tiny float32"}
    save_tensors(path, {"values": values, "vectors": vectors}, about)
    with pytest.raises(DataError, match=r"s\.safetensors contains no spectrum"):
        spectrum.load_for(MODEL, 0, path, tmp_path / "c.safetensors")


def test_two_models_of_one_shape_have_spectra_of_their_own(
    saved_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Other files and other content, although nothing but the weights differs."""
    texts = tmp_path / "texts.json"
    texts.write_text(json.dumps(SENTENCES), encoding="utf-8")
    source = saved_model("gpt2")
    jobs = []
    for seed in (0, 1):
        model = ModelSpec(name=f"m{seed}", source=str(_reseeded(source, tmp_path, seed)))
        given = TextSpec(path=str(texts), tokens=100)
        moments = MomentJob(model=model, layers=(1,), texts=given)
        artefacts.write_moments(moments, tmp_path / model.name)
        c = paths.of_layer(tmp_path / model.name, 1)
        job = SpectrumJob(model=model, moments={1: str(c)})
        artefacts.write_spectra(job, tmp_path / f"{model.name}-spectra")
        jobs.append((job, c, paths.of_layer(tmp_path / f"{model.name}-spectra", 1)))
    (first, c, path), (second, other_c, other) = jobs
    assert first.key != second.key
    assert spectrum.load_for(first.model, 1, path, c).layer == 1
    with pytest.raises(DataError, match="not of layer 1 of"):
        spectrum.load_for(first.model, 1, other, c)
    with pytest.raises(DataError, match="not of layer 1 of"):
        spectrum.load_for(first.model, 1, other, other_c)


def _reseeded(source: Path, folder: Path, seed: int) -> Path:
    """A copy of a saved model, its weights scaled by the seed."""
    import shutil

    from safetensors.torch import load_file, save_file

    copy = folder / f"model-{seed}"
    shutil.copytree(source, copy)
    file = copy / "model.safetensors"
    save_file({n: t * (1 + 0.1 * seed) for n, t in load_file(file).items()}, file, {"format": "pt"})
    return copy
